"""Runs benchmarks one after the other and writes what they find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recurseg.bench.plot import plot_bounds, plot_growth
from recurseg.bench.registry import Result, benchmarks
from recurseg.data.files import require_writable, write_json, write_text
from recurseg.training.provenance import machine, versions


def run_benchmarks(
    ids: Sequence[str] = (),
    *,
    out: Path | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, id: None,
) -> list[Result]:
    """Measures how fast the networks are here and now.

    Args:
        ids: Which benchmarks or groups of them; none means all that take less than a minute.
        out: Folder for `bench.json` (results with every sample, machine, versions) and pictures of growths and of
            what was measured against its bound.
        progress: Called with how many are done, how many there are, and the id of the next.

    Returns:
        A result for each benchmark, in their order.

    Raises:
        ConfigError: If an id is unknown.
        ResourceError: If `out` cannot be written.
    """
    chosen = benchmarks(ids)
    if out is not None:
        require_writable(out)
    results = []
    for done, each in enumerate(chosen):
        progress(done, len(chosen), each.id)
        results.append(Result(each, each.measure()))
    if out is not None:
        _write(results, out)
    return results


def _write(results: Sequence[Result], out: Path) -> None:
    found = {
        result.benchmark.id: {
            **result.as_dict(),
            "what": result.benchmark.what,
            "samples": list(result.measurement.samples),
            "curve": [list(point) for point in result.measurement.curve],
        }
        for result in results
    }
    write_json(out / "bench.json", {"results": found, "machine": machine(), "versions": versions()})
    for name, picture in (plot_growth(results) | plot_bounds(results)).items():
        write_text(out / f"{name}.svg", picture)
