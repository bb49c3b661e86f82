"""Runs the rows of a table that the ledger does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recurseg.data.dataset import Dataset, open_dataset
from recurseg.data.splits import split_cases
from recurseg.evaluation import METRICS, evaluate
from recurseg.evaluation.pairing import sections_of
from recurseg.experiments.completion import measure_completion
from recurseg.experiments.ledger import Ledger, Result, source_commit
from recurseg.experiments.sources import find_data
from recurseg.experiments.subsets import measure_subsets
from recurseg.experiments.table import Row, Scale, Source, Table, Training
from recurseg.training.log import read_log
from recurseg.training.plan import plan
from recurseg.training.recipe import Recipe, published_recipe
from recurseg.training.run import Run, train
from recurseg.training.settings import override


@dataclass(frozen=True)
class Entry:
    """A row at one scale on one source.

    Attributes:
        row: Of the table.
        source: The data.
        state: "done", "not run", "stale: the recipe changed", "no full run" (smoke, small), or "stored (small)".
        result: Where it is done.
        run: Folder of its run, which need not be on this machine; None where there is no such run.
    """

    row: Row
    source: Source
    state: str
    result: Result | None
    run: Path | None = None


def reproduce(
    table: Table,
    *,
    rows: list[str] | None = None,
    data: Path | None = None,
    scale: Scale = "small",
    results: Path,
    work: Path,
    run: bool = True,
) -> Iterator[Entry]:
    """Gives a table's rows one after the other, running those that are not done.

    Args:
        table: The table.
        rows: Ids of the rows; None is all.
        data: A data set, or a folder of data sets.
        scale: "smoke", "small" or "full".
        results: The ledger's folder.
        work: Where run folders and phantoms go; a run that was broken off there is resumed.
        run: False only reads the ledger.

    Yields:
        Each row with its result.

    Raises:
        ConfigError: An unknown row, no such folder.
    """
    chosen = [table.row(id) for id in rows] if rows else table.rows_at(scale)
    source, folder = find_data(table, scale, data, work)
    dataset, ledger = open_dataset(folder), Ledger(results)
    for row in chosen:
        training = row.training(scale)
        if training is None:
            yield Entry(row, source, f"no {scale} run", None)
            continue
        recipe = _recipe(training, source, dataset)
        result = ledger.read(table.id, source.name, scale, row.id)
        state = _state(result, recipe)
        out = work / table.id / source.name / scale / f"{row.id}-{recipe.digest()[:8]}"
        if state != "done" and run:
            finished = _train(training, recipe, source, folder, out)
            result, state = _result(table, row, source, scale, recipe, finished, dataset, work), "done"
            ledger.write(result)
        yield Entry(row, source, state, result if state == "done" else None, out)


def _recipe(training: Training, source: Source, dataset: Dataset) -> Recipe:
    """The recipe of a row, before minutes become steps."""
    if training.recipe is not None:
        recipe = override(published_recipe(training.recipe), source.recipe_settings)
    else:
        recipe = plan(dataset, model=training.model or "", minutes=training.minutes)
    return override(recipe, training.settings)


def _state(result: Result | None, recipe: Recipe) -> str:
    if result is None:
        return "not run"
    return "done" if result.recipe_hash == recipe.digest() else "stale: the recipe changed"


def _train(training: Training, recipe: Recipe, source: Source, folder: Path, out: Path) -> Run:
    if (out / "validation" / "metrics.json").exists() and "finished" in Run(out).manifest:
        return Run(out)
    return train(
        folder,
        recipe=recipe,
        minutes=training.minutes,
        steps=training.steps,
        holdout=training.holdout or source.holdout,
        out=out,
        resume=(out / "manifest.json").exists(),
    )


def _result(
    table: Table, row: Row, source: Source, scale: Scale, recipe: Recipe, run: Run, dataset: Dataset, cache: Path
) -> Result:
    manifest, digits = run.manifest, source.test is not None
    measured = _completed(source, run, dataset, cache) if digits else _segmented(table, run, dataset)
    return Result(
        table=table.id,
        row=row.id,
        source=source.name,
        scale=scale,
        holdout=manifest["holdout"],
        split=manifest["split"]["description"],
        data_hashes=manifest["hashes"],
        recipe_hash=recipe.digest(),
        recipe=run.recipe.model_dump(mode="json", exclude={"data"}),
        minutes=manifest["minutes"],
        seconds=manifest["seconds"],
        steps=manifest["steps"],
        best_step=manifest["best_step"],
        parameters=manifest["parameters"],
        peak_memory_mib=manifest.get("peak_memory_mib"),
        **measured,
        curve=_curve(run),
        commit=source_commit(),
        versions=manifest["versions"],
        machine=manifest["machine"],
        finished=manifest["finished"],
    )


def _segmented(table: Table, run: Run, dataset: Dataset) -> dict[str, Any]:
    held = replace(dataset, cases=split_cases(dataset, run.manifest["holdout"], seed=run.recipe.seed).validation)
    found = evaluate(run.folder / "validation", held, also=list(dict.fromkeys(m.metric for m in table.measures)))
    return {
        "evaluation": [line.as_dict() for line in found.rows],
        "confusion": found.pooled and found.pooled.as_dict(),
        "subsets": measure_subsets(run.folder, held) if table.subsets else [],
        "sections": _by_section(table, run, held),
    }


def _completed(source: Source, run: Run, dataset: Dataset, cache: Path) -> dict[str, Any]:
    train = split_cases(dataset, source.holdout, seed=run.recipe.seed, labelled=False).train
    assert source.test is not None
    return {
        "evaluation": [],
        "completion": measure_completion(run.folder, dataset, train=train, test=source.test, cache=cache),
    }


def _by_section(table: Table, run: Run, held: Dataset) -> list[dict]:
    """Membrane metrics of every section, where what was held out is one stack."""
    metrics = [m.metric for m in table.measures if METRICS[m.metric].takes == "membrane"]
    stack = held.cases[0]
    if not metrics or len(held.cases) != 1 or stack.slice_axis is None:
        return []
    first = int((sections_of(stack.id) or "0").split("-")[0])
    rows = []
    for section in range(stack.shape[stack.slice_axis]):
        found = evaluate(run.folder / "validation", held, metrics=metrics, sections=str(section))
        rows.append({"section": first + section, **{metric: found.value(metric) for metric in metrics}})
    return rows


def _curve(run: Run) -> list[dict[str, float]]:
    points, seconds = [], 0.0
    for event in read_log(run.folder / "log.jsonl"):
        seconds += event["seconds"]
        if event["event"] == "validation":
            value = event["values"][run.recipe.validation.metric]
            points.append({"step": event["step"], "minutes": round(seconds / 60, 2), "value": value})
    return points


def split_row(text: str, tables: list[str]) -> tuple[str, list[str] | None]:
    """Parts "pyramid_lstm/table1/unet" into table and rows; any other text is a table with all of its rows."""
    table, _, row = text.rpartition("/")
    return (table, [row]) if table in tables else (text, None)


def stored(table: Table, results: Path, *, rows: list[str] | None = None) -> list[Entry]:
    """What the ledger holds of a table, at any scale but smoke; a row that it does not hold is "not run".

    Raises:
        ConfigError: `rows` names an unknown row.
    """
    ledger, entries = Ledger(results), []
    for row in [table.row(id) for id in rows] if rows else table.rows:
        found = [
            Entry(row, source, f"stored ({scale})", result)
            for scale in ("small", "full")
            for source in table.sources
            if (result := ledger.read(table.id, source.name, scale, row.id)) is not None
        ]
        due = row in table.rows_at("small")
        entries += found or ([Entry(row, table.sources[0], "not run", None)] if due else [])
    return entries
