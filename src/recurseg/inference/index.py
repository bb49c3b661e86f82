"""`predictions.json`: which label file belongs to which case, and whether it is still what would be predicted now."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Case
from recurseg.data.files import write_json
from recurseg.data.formats import stem_of
from recurseg.data.slabs import slabs
from recurseg.errors import ConfigError, DataError
from recurseg.inference.package import PackageSpec

INDEX_NAME = "predictions.json"
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
        self.kind = {"segmentation": "label", "regression": "image", "classification": "class"}[spec.task]
        self.path = out / INDEX_NAME
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
            "pending": earlier.get("pending", []),
            "failed": {},
        }

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
        own = {*self.cases, *self.document["pending"]}
        if self._overwrite or not self.out.is_dir():
            return
        for path in sorted(self.out.iterdir()):
            name = path.name if path.is_dir() else stem_of(path)
            if name in ids and name not in own:
                raise ConfigError(f"{path}: is there already: choose another folder or --overwrite")

    def is_done(self, case: Case, fingerprint: str, *, maps: bool) -> bool:
        """Whether the files of a case are there and nothing that they depend on has changed."""
        entry = self.cases.get(case.id, {})
        if entry.get("fingerprint") != fingerprint:
            return False
        if self.kind == "class":
            return True
        files = [entry[self.kind], *(entry["maps"].values() if maps else [])]
        return (not maps or bool(entry["maps"])) and all((self.out / file).exists() for file in files)

    def file_of(self, id: str) -> Path:
        """The label file or image of a case; of a class, this index."""
        return self.path if self.kind == "class" else self.out / self.cases[id][self.kind]

    def plan(self, ids: list[str]) -> None:
        """Notes what is about to be predicted, so that a resumed run knows its own files."""
        self.document["pending"] = ids
        self.save()

    def add(self, id: str, entry: dict[str, Any]) -> None:
        """Adds a case whose files are written; writing the index takes a twentieth of the time at most."""
        self.cases[id] = entry
        self.document["pending"].remove(id)
        if time.monotonic() >= self._save_again:
            self.save()

    def save(self) -> None:
        """Writes the index. Raises ResourceError where the folder cannot be written."""
        began = time.monotonic()
        write_json(self.path, self.document)
        ended = time.monotonic()
        self._save_again = ended + 20 * (ended - began)


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
