"""Label files for many inputs, predicted on a Ray cluster: a case a task, none lost, none done twice."""

from __future__ import annotations

import math
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from recurseg.data.case import Case
from recurseg.data.files import write_text
from recurseg.data.layouts.files import As
from recurseg.errors import ConfigError, RecursegError, ResourceError
from recurseg.inference.bar import CasesBar
from recurseg.inference.cluster_connection import connected, has_gpus, places
from recurseg.inference.cluster_task import Job, Loading, pack, predict_packed
from recurseg.inference.files import FilesResult, failures, settings_of
from recurseg.inference.index import NOTES_FOLDER, Index
from recurseg.inference.inputs import Inputs, check_out, collect
from recurseg.inference.memory import parse_bytes, readable_size
from recurseg.inference.package import package_hash
from recurseg.inference.predictor import Segmenter
from recurseg.models import accepts_missing

TRIES = 3
"""How many workers a case may cost before it counts as failed."""
_LOOK_AGAIN = 5.0
"""Seconds after which nodes that came or went are noticed."""

Outcome = dict[str, Any] | RecursegError


def predict_on_cluster(
    segmenter: Segmenter,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    address: str,
    device: str = "auto",
    cores: int = 1,
    probabilities: bool = False,
    flips: bool = False,
    keep_largest: bool = False,
    max_ram: int | str | None = None,
    overwrite: bool = False,
    as_: As | None = None,
    quiet: bool = False,
) -> FilesResult:
    """Predicts files, folders and data sets as `predict_files` does, a case a task of a Ray cluster.

    Inputs, package and `out` lie on a file system that all nodes see under the same paths, and all nodes have the
    same recurseg: workers get the path of a case, read it, and write its label file. The index is written here
    alone. A case whose worker dies is given to another; one that was finished is recognised by its note and not
    predicted again, neither then nor when this program is killed and run again. A case that costs `TRIES` workers
    has failed, and the others go on.

    Args:
        segmenter: From `recurseg.load`, on any device; workers load its package, one model a process.
        inputs: As for `predict_files`, like `out`, `probabilities`, `flips`, `keep_largest`, `overwrite`, `as_` and
            `quiet`; `max_ram` is that of each worker, and kept free for it.
        address: Of the cluster, as for `connected`.
        device: "cpu"; "cuda", one GPU a case; or "auto", which is "cuda" where the cluster has any.
        cores: Of a node, for each case.

    Returns:
        What was written and skipped, where nothing failed.

    Raises:
        ConfigError: As `predict_files` does; or the cluster cannot be reached, no node of it can hold a case, or its
            nodes have other versions or files than this machine.
        ResourceError: As `predict_files` does; or only cases failed that cost their workers.
        DataError: Some inputs could not be predicted; it names them, and the others are done.
    """
    if segmenter.package is None:
        raise ConfigError("files are predicted by a stored model: save_package it, then load it")
    limit = None if max_ram is None else parse_bytes(max_ram)
    if device not in ("auto", "cpu", "cuda") or cores < 1:
        raise ConfigError(f"--ray: --device is auto, cpu or cuda and --cores at least 1, not {device} and {cores}")
    paths, out = [Path(path).absolute() for path in inputs], Path(out).absolute()
    found = collect(paths, segmenter.spec.modalities, missing=accepts_missing(segmenter.model), as_=as_)
    total = len(found.cases) + len(found.failed)
    if not found.cases:
        raise failures(found.failed, total, out)
    check_out(out, paths, found.cases)
    package = package_hash(segmenter.package)
    index = Index(out, segmenter.spec, package, overwrite=overwrite)
    ids = [case.id for case in found.cases]
    index.refuse_strangers(ids)

    with connected(address):
        device = ("cuda" if has_gpus() else "cpu") if device == "auto" else device
        needs = {"CPU": cores, "GPU": int(device == "cuda"), "memory": limit or 0}
        at_once = _places(needs)
        index.plan(ids)
        with _token(out) as token:
            job = Job(
                loading=_loading(segmenter, package, device, cores),
                settings=settings_of(segmenter, flips=flips, keep_largest=keep_largest),
                options={
                    "probabilities": probabilities,
                    "flips": flips,
                    "keep_largest": keep_largest,
                    "max_ram": limit,
                },
                kind=index.kind,
                out=out,
                token=token,
            )
            result = _predict(job, found, index, needs, at_once, quiet=quiet)
    index.close(found.failed)
    if found.failed:
        raise failures(found.failed, total, out)
    return result


def _predict(
    job: Job, found: Inputs, index: Index, needs: Mapping[str, int], at_once: Callable[[], int], *, quiet: bool
) -> FilesResult:
    """Has the cases predicted and keeps the index, the failures and the bar up to date."""
    result = FilesResult(job.out, notes=found.notes)
    numbers = {case.id: number for number, case in enumerate(found.cases)}
    with (
        index.kept(),
        CasesBar([math.prod(case.shape) for case in found.cases], quiet=quiet) as bar,
        closing(_outcomes(job, found.cases, index, needs, at_once)) as outcomes,
    ):
        bar.tell(f"0/{len(numbers)} on {at_once()} workers")
        for done, (case, outcome) in enumerate(outcomes, start=1):
            number = numbers[case.id]
            if isinstance(outcome, RecursegError):
                found.failed[case.id] = outcome
                index.cases.pop(case.id, None)
                bar.skip(number)
            elif outcome == index.cases.get(case.id):
                result.skipped[case.id] = index.file_of(case.id)
                index.keep(case.id)
                bar.skip(number)
            else:
                index.add(case.id, outcome)
                result.written[case.id] = index.file_of(case.id)
                bar.finish(number)
            bar.tell(f"{done}/{len(numbers)} on {at_once()} workers")
    return result


def _outcomes(
    job: Job, cases: Sequence[Case], index: Index, needs: Mapping[str, int], at_once: Callable[[], int]
) -> Generator[tuple[Case, Outcome], None, None]:
    """Cases in the order in which they end, each with its entry or why it has none.

    Two cases a worker are with the cluster at a time, one at work and one waiting: no worker waits for this process,
    and the queue stays short however many there are. Those at work when the generator is closed are stopped.
    """
    import ray
    from ray import exceptions

    lost = (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
    )
    resources = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "memory": needs["memory"] or None}
    task = ray.remote(**resources, max_retries=0)(predict_packed)
    shared, tries = ray.put(job), Counter[str]()
    waiting, at_work = deque(cases), dict[Any, Case]()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < 2 * max(at_once(), 1):
                case = waiting.popleft()
                at_work[task.remote(shared, pack(case), index.cases.get(case.id))] = case
            ray.wait([*at_work], num_returns=1, timeout=_LOOK_AGAIN)
            ended, _ = ray.wait([*at_work], num_returns=len(at_work), timeout=0)
            for answer in ended:
                case = at_work.pop(answer)
                try:
                    outcome = ray.get(answer)
                except lost as error:
                    tries[case.id] += 1
                    if tries[case.id] < TRIES:
                        waiting.append(case)
                        continue
                    outcome = _worn_out(case, error)
                except exceptions.RayTaskError as error:
                    raise _cause(error) from None
                except exceptions.RayError as error:
                    raise ConfigError(f"the Ray cluster failed: {' '.join(str(error).split())[:160]}") from None
                yield case, outcome
    finally:
        for answer in at_work:
            ray.cancel(answer, force=True)


def _worn_out(case: Case, error: Exception) -> ResourceError:
    memory = "for want of memory" if type(error).__name__ == "OutOfMemoryError" else "most often for want of memory"
    return ResourceError(
        f"case {case.id}: {TRIES} workers died of it, {memory}: predict it with smaller windows (--window) or on "
        "larger machines"
    )


def _cause(error: Any) -> Exception:
    """What a task raised; one that could not even start has no recurseg on its node."""
    if isinstance(error.cause, RecursegError) or "No module named 'recurseg" not in str(error):
        return error.cause
    return ConfigError("a node of the cluster has no recurseg: install the same version on all nodes")


def _places(needs: Mapping[str, int]) -> Callable[[], int]:
    """Gives the number of cases that the cluster can work on at once, counted anew every few seconds.

    Raises:
        ConfigError: It is 0 to begin with.
    """
    known, counted = places(needs), time.monotonic()
    if not known:
        gpu = " and a GPU" if needs["GPU"] else ""
        memory = f" and {readable_size(needs['memory'])} of memory" if needs["memory"] else ""
        raise ConfigError(
            f"no node of the Ray cluster has {needs['CPU']} cores{gpu}{memory}: ask for less with --cores, --device "
            "or --max-ram"
        )

    def at_once() -> int:
        nonlocal known, counted
        if time.monotonic() - counted > _LOOK_AGAIN:
            known, counted = places(needs), time.monotonic()
        return known

    return at_once


@contextmanager
def _token(out: Path) -> Iterator[Path]:
    """A file by which workers know that they see the same folder."""
    token = out / NOTES_FOLDER / uuid.uuid4().hex
    write_text(token, "")
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _loading(segmenter: Segmenter, package: str, device: str, cores: int) -> Loading:
    assert segmenter.package is not None
    plugin = segmenter.spec.plugin
    return Loading(
        package=segmenter.package.absolute(),
        hash=package,
        device=device,
        cores=cores,
        window=segmenter.spec.window,
        precision=segmenter.precision,
        plugin=plugin,
        plugin_folder=plugin and _folder_of(plugin.partition(".")[0]),
        given=segmenter.given,
    )


def _folder_of(module: str) -> str:
    """The folder from which a module or package was imported."""
    file = Path(sys.modules[module].__file__ or "").absolute()
    return str(file.parents[file.name == "__init__.py"])
