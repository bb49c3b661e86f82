"""`predictions.json`: which label file belongs to which case, and whether it is still what would be predicted now."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Case
from recurseg.data.files import write_json
from recurseg.data.formats import name_of
from recurseg.data.slabs import slabs
from recurseg.errors import ConfigError, DataError, RecursegError
from recurseg.inference.package import PackageSpec

INDEX_NAME = "predictions.json"
NOTES_FOLDER = ".finished"
"""In the folder of predictions: entries of cases that cluster workers have finished, until the index has them."""
_KINDS = {"segmentation": "label", "regression": "image", "classification": "class"}
SCHEMA_VERSION = 1


class Index:
    """The index of a folder of predictions, written anew after each change; a killed process leaves a whole one.

    Args:
        out: The folder.
        spec: What predicts.
        package: Hash of its package.
        overwrite: Whether what another package predicted, and files of other origin, may be replaced.

    Raises:
        ConfigError: The folder holds predictions of another package.
        DataError: Its index cannot be read.
    """

    def __init__(self, out: Path, spec: PackageSpec, package: str, *, overwrite: bool) -> None:
        self.out = out
        self.kind = _KINDS[spec.task]
        self.path = out / INDEX_NAME
        self._planned: list[str] = []
        self._noted: list[str] = []
        self._save_again = -math.inf
        self._overwrite = overwrite
        earlier = {} if overwrite or not self.path.exists() else _read(self.path)
        if earlier and earlier.get("package") != package:
            raise ConfigError(f"{out}: holds predictions of another package: choose another folder or --overwrite")
        self.document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "class_names": spec.class_names,
            "label_map": {str(value): index for index, value in enumerate(spec.file_values)},
            "task": spec.task,
            "model": spec.model,
            "package": package,
            "cases": earlier.get("cases", {}),
            "pending": dict.fromkeys(earlier.get("pending", [])),
            "failed": {},
        }
        if earlier:
            self._take_notes()
        else:
            shutil.rmtree(out / NOTES_FOLDER, ignore_errors=True)

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        """Case id → label file, completed image or class, maps, source and fingerprint; paths relative to the
        folder."""
        return self.document["cases"]

    def refuse_strangers(self, ids: list[str]) -> None:
        """Makes sure that no file that recurseg did not write here would be replaced.

        Raises:
            ConfigError: There is one.
        """
        own, wanted = {*self.cases, *self.document["pending"]}, set(ids)
        if self._overwrite or not self.out.is_dir():
            return
        for path in sorted(self.out.iterdir()):
            name = name_of(path)
            if name in wanted and name not in own:
                raise ConfigError(f"{path}: is there already: choose another folder or --overwrite")

    def is_done(self, case: Case, fingerprint: str, *, maps: bool) -> bool:
        """Whether the files of a case are there and nothing that they depend on has changed."""
        return still_holds(self.cases.get(case.id), fingerprint, self.out, self.kind, maps=maps)

    def file_of(self, id: str) -> Path:
        """The label file or image of a case; of a class, this index."""
        return self.path if self.kind == "class" else self.out / self.cases[id][self.kind]

    def plan(self, ids: list[str]) -> None:
        """Notes what is about to be predicted, so that a resumed run knows its own files."""
        self._planned = ids
        self.document["pending"] = dict.fromkeys(ids)
        self.save()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Writes the index as it stands where the block is interrupted."""
        try:
            yield
        except BaseException:
            with suppress(RecursegError):
                self.save()
            raise

    def add(self, id: str, entry: dict[str, Any]) -> None:
        """Adds a case whose files are written; writing the index takes a twentieth of the time at most."""
        self.cases[id] = entry
        self._noted.append(id)
        self.keep(id)
        if time.monotonic() >= self._save_again:
            self.save()

    def keep(self, id: str) -> None:
        """Leaves a case as the index has it."""
        self.document["pending"].pop(id, None)

    def close(self, failed: dict[str, Exception]) -> None:
        """Writes the index for the last time, cases in the order in which they were planned.

        Args:
            failed: Name of a case or path → why it was not predicted.
        """
        place = {id: number for number, id in enumerate(self._planned)}
        self.document["cases"] = dict(sorted(self.cases.items(), key=lambda item: place.get(item[0], -1)))
        self.document["failed"] = {name: str(error) for name, error in failed.items()}
        self.document["pending"] = {}
        self.save()
        shutil.rmtree(self.out / NOTES_FOLDER, ignore_errors=True)

    def save(self) -> None:
        """Writes the index. Raises ResourceError where the folder cannot be written."""
        began = time.monotonic()
        write_json(self.path, self.document | {"pending": list(self.document["pending"])})
        ended = time.monotonic()
        self._save_again = ended + 20 * (ended - began)
        if (self.out / NOTES_FOLDER).is_dir():
            for id in self._noted:
                _note_of(self.out, id).unlink(missing_ok=True)
        self._noted.clear()

    def _take_notes(self) -> None:
        """Adds what was finished when the program that kept the index was killed."""
        for path in (self.out / NOTES_FOLDER).rglob("*.json"):
            id = path.relative_to(self.out / NOTES_FOLDER).as_posix().removesuffix(".json")
            entry = read_note(self.out, id)
            if entry:
                self.cases[id] = entry
                self._noted.append(id)


def still_holds(entry: dict[str, Any] | None, fingerprint: str, out: Path, kind: str, *, maps: bool) -> bool:
    """Whether the files of an entry are there and nothing that they depend on has changed.

    Args:
        entry: Of a case; None where it has none.
        fingerprint: What the case would be predicted from now.
        out: The folder of predictions.
        kind: "label", "image" or "class", as of `Index.kind`.
        maps: Whether probability maps are wanted.
    """
    if entry is None or entry.get("fingerprint") != fingerprint:
        return False
    if kind == "class":
        return True
    files = [entry[kind], *(entry["maps"].values() if maps else [])]
    return (not maps or bool(entry["maps"])) and all((out / file).exists() for file in files)


def write_note(out: Path, id: str, entry: dict[str, Any]) -> None:
    """Notes beside its files that a case is finished, for the index and for whoever is given the case again."""
    write_json(_note_of(out, id), entry)


def read_note(out: Path, id: str) -> dict[str, Any] | None:
    """The entry that was noted for a case, if any."""
    try:
        return json.loads(_note_of(out, id).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _note_of(out: Path, id: str) -> Path:
    return out / NOTES_FOLDER / f"{id}.json"


def fingerprint(case: Case, package: str, settings: dict[str, Any]) -> str:
    """SHA-256 of everything that decides a prediction: voxels and geometry, package, settings.

    Args:
        case: Read slab by slab.
        package: Hash of the package.
        settings: Plain values.

    Raises:
        DataError: An image cannot be read.
    """
    digest = hashlib.sha256(json.dumps([package, settings], sort_keys=True).encode())
    for name, volume in case.images.items():
        affine = None if volume.affine is None else volume.affine.tolist()
        digest.update(json.dumps([name, volume.shape, str(volume.array.dtype), volume.spacing, affine]).encode())
        for slab in slabs(volume):
            digest.update(np.ascontiguousarray(slab).data)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document["cases"], dict) or document["schema_version"] != SCHEMA_VERSION:
            raise ValueError("another form")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: is no index of predictions ({error}): choose another folder or --overwrite"
        ) from None
    return document
