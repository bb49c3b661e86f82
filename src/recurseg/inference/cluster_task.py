"""What a worker of a cluster does with one case: predict it, write its files, and note that it is finished."""

from __future__ import annotations

import io
import pickle
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from recurseg import __version__
from recurseg.data.case import Case
from recurseg.data.formats.spool import Spool
from recurseg.data.formats.writing import CannotWriteError
from recurseg.errors import ConfigError, RecursegError
from recurseg.inference.files import predict_case
from recurseg.inference.index import fingerprint, read_note, still_holds, write_note
from recurseg.inference.package import package_hash
from recurseg.inference.predictor import Segmenter, load
from recurseg.inference.tiling import Precision


@dataclass(frozen=True)
class Loading:
    """Which model a worker loads, and how; equal ones share a model.

    Attributes:
        package: Folder that all nodes see.
        hash: Of the package, as the driver sees it.
        device: "cpu" or "cuda"; a worker sees only the GPU that it was given.
        cores: Threads of the network.
        window, precision, plugin: As for `recurseg.load`.
        plugin_folder: Where the driver found the plug-in's module.
        given: The only modalities that the model looks at; None: all there are.
    """

    package: Path
    hash: str
    device: str
    cores: int
    window: tuple[int, ...]
    precision: Precision
    plugin: str | None
    plugin_folder: str | None
    given: tuple[str, ...] | None


@dataclass(frozen=True)
class Job:
    """What the tasks of a run have in common.

    Attributes:
        loading: The model.
        settings: What decides a prediction beside package and case, for fingerprints.
        options: Of `predict_case`.
        kind: "label", "image" or "class": what the index has of a case.
        out: Folder of predictions that all nodes see.
        token: File in it that the driver made for this run.
        version: Of the driver's recurseg.
    """

    loading: Loading
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    kind: str
    out: Path
    token: Path
    version: str = __version__


def pack(case: Case) -> bytes:
    """A case as bytes for another machine: paths and headers; no voxels, no temporary files of this machine."""
    from ray.cloudpickle import Pickler

    class Packer(Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Spool):
                return Spool, (obj.source, obj.size, obj.chunks)
            return super().reducer_override(obj)

    packed = io.BytesIO()
    Packer(packed).dump(case)
    return packed.getvalue()


def predict_packed(job: Job, packed: bytes, earlier: dict[str, Any] | None) -> dict[str, Any] | RecursegError:
    """Predicts a case and writes its files, unless they are there and still hold.

    The entry is noted in `job.out` right after the files are written. So a worker that is killed before it has
    answered leaves a finished case, and who is given the case again finds the note.

    Args:
        job: What all cases have in common.
        packed: From `pack`.
        earlier: What the index has of the case.

    Returns:
        The entry for the index; or why this case cannot be predicted.

    Raises:
        ConfigError: This node does not see the files, or has another recurseg or package.
        DataError, ResourceError: The package cannot be loaded, or `job.out` cannot be written.
    """
    case: Case = pickle.loads(packed)
    _require_same_world(job, case)
    segmenter = _segmenter(job.loading)
    try:
        mark = fingerprint(case, job.loading.hash, dict(job.settings))
        for entry in (earlier, read_note(job.out, case.id)):
            if entry and still_holds(entry, mark, job.out, job.kind, maps=job.options["probabilities"]):
                return entry
        entry = predict_case(segmenter, case, job.out, mark=mark, **job.options) | {"fingerprint": mark}
    except CannotWriteError:
        raise
    except RecursegError as error:
        return error
    write_note(job.out, case.id, entry)
    return entry


def _require_same_world(job: Job, case: Case) -> None:
    node = socket.gethostname()
    if job.version != __version__:
        raise ConfigError(
            f"node {node} has recurseg {__version__}, this machine {job.version}: install one version on all nodes"
        )
    for path in (job.token, job.loading.package, case.reference.path.parent):
        if not path.exists():
            raise ConfigError(
                f"node {node} does not see {path}: inputs, model and --out must lie on a file system that all nodes "
                "share, under the same path"
            )


@lru_cache(maxsize=1)
def _segmenter(loading: Loading) -> Segmenter:
    """The model of this process, loaded once."""
    import torch

    if package_hash(loading.package) != loading.hash:
        raise ConfigError(
            f"{loading.package}: differs on node {socket.gethostname()}: name a package on a file system that all "
            "nodes share, and leave it alone while it predicts"
        )
    torch.set_num_threads(loading.cores)
    if loading.plugin_folder:
        sys.path.append(loading.plugin_folder)
    segmenter = load(
        loading.package,
        device=loading.device,
        precision=loading.precision,
        window=loading.window,
        plugin=loading.plugin,
    )
    return replace(segmenter, given=loading.given)
