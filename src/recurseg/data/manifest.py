"""`dataset.yaml`: a data set written down, which files are which case and what their label values mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator, model_validator

from recurseg.data.case import IGNORE
from recurseg.data.files import write_text
from recurseg.errors import ConfigError, did_you_mean, first_problem

SCHEMA_VERSION = 1
MANIFEST_NAME = "dataset.yaml"
_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema version → function that turns a document of that version into one of the next."""

Files = str | list[str]


class CaseEntry(BaseModel):
    """The files of one case."""

    model_config = ConfigDict(extra="forbid")

    id: str
    """Unique in the data set; names the prediction."""
    patient: str = ""
    """Cases of one patient never stand on both sides of a split. Empty: the case is its own patient."""
    images: dict[str, Files]
    """Modality → file, folder of sections, or list of 2-D files stacked in this order. A case may lack modalities."""
    label: Files | dict[NonNegativeInt, str] | None = None
    """Label file, folder or list, or of a cine, frame (from 0) → its label file; null where there is none."""
    sections: tuple[NonNegativeInt, NonNegativeInt] | None = None
    """First and last of the files' sections that make the case, counted from 0; null for all of them."""
    for_prediction: bool = False
    """True: the case has no label on purpose, as a challenge's test data; training leaves it aside."""
    tags: list[str] = []
    """Words that mark the case, such as "child" or "effusion"; measures are given for each."""
    phases: dict[str, NonNegativeInt] = {}
    """Name of a moment, such as "ED" or "ES" → its frame, counted from 0."""
    target: NonNegativeInt | None = None
    """Class of the whole image, for classification; null where there is none."""

    @field_validator("id")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        if not value.strip() or value in (".", "..") or any(sign in value for sign in "/\\\0\n"):
            raise ValueError(f"'{value}' cannot name a file")
        return value

    @field_validator("images")
    @classmethod
    def _has_an_image(cls, value: dict[str, Files]) -> dict[str, Files]:
        if not value or any(files == [] for files in value.values()):
            raise ValueError("a case needs at least one image")
        return value

    @field_validator("label", mode="before")
    @classmethod
    def _frames_to_files(cls, value: Any) -> Any:
        if isinstance(value, dict) and not (
            value and all(str(frame).isdecimal() and isinstance(file, str) for frame, file in value.items())
        ):
            raise ValueError("a label by frame is a mapping of frames, counted from 0, to files: {0: ed.nii.gz}")
        return value

    @field_validator("tags")
    @classmethod
    def _are_words(cls, value: list[str]) -> list[str]:
        if not all(tag.split() == [tag] for tag in value) or len(set(value)) < len(value):
            raise ValueError("tags are single words, each given once")
        return value


class DatasetManifest(BaseModel):
    """A data set as data: layout, modalities, classes and files. Paths are relative to the manifest's folder."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    """Version of this form; older ones are brought up to date while reading."""
    name: str
    """Name of the data set, for reports."""
    layout: str = "manifest"
    """The folder shape it was recognised as."""
    modalities: list[str] = Field(min_length=1)
    """Modalities in the order in which they become input channels."""
    channels: dict[str, Annotated[int, Field(ge=0, le=2)]] = {}
    """Modality → which channel of a colour file it is: 0 red, 1 green, 2 blue."""
    classes: dict[int, str] = {}
    """Class → name, counted from 0 (background). Empty: found in the label files."""
    label_map: dict[int, int] = {}
    """Value in the label file → class (255: ignored). Empty: values are classes."""
    not_evaluated: list[int] = []
    """Classes that are learned but not measured: where the reference has one, no metric counts the voxel."""
    regions: dict[str, list[int]] = {}
    """Name → classes that are measured together as one mask, such as a whole tumour; regions may overlap."""
    spacing: tuple[float, ...] | None = None
    """Millimetres per voxel in the order of the file's axes, instead of what the files say; of a cine with or without
    the seconds per frame."""
    max_case_bytes: int | None = Field(default=None, gt=0)
    """A file whose header claims more bytes than this is refused."""
    splits: dict[str, list[str]] = {}
    """Name → ids of the cases in it, for `--holdout NAME`."""
    notes: list[str] = []
    """What was decided when the manifest was made."""
    cases: list[CaseEntry] = Field(min_length=1)
    """The cases."""

    @field_validator("spacing")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (len(value) not in (2, 3, 4) or not all(0 < s < float("inf") for s in value)):
            raise ValueError("2 or 3 positive millimetres expected, of a cine also seconds per frame")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> DatasetManifest:
        if self.classes and sorted(self.classes) != list(range(len(self.classes))):
            raise ValueError(f"classes must be counted 0, 1, 2, ... without gaps, not {sorted(self.classes)}")
        if len(set(self.classes.values())) < len(self.classes):
            raise ValueError("two classes have one name")
        for value, target in self.label_map.items():
            if self.classes and target not in self.classes and target != IGNORE:
                raise ValueError(f"label_map sends {value} to class {target}, which classes does not have")
        for left_out in self.not_evaluated:
            if left_out == 0 or (self.classes and left_out not in self.classes):
                raise ValueError(f"not_evaluated names class {left_out}, which is not a foreground class")
        if self.classes and set(self.classes) <= {0, *self.not_evaluated}:
            raise ValueError("not_evaluated leaves no class to measure")
        for region, members in self.regions.items():
            unknown = next((member for member in members if member not in self.classes), None)
            if unknown is not None:
                raise ValueError(f"region '{region}' names class {unknown}, which classes does not have")
            if not members or 0 in members or len(set(members)) < len(members):
                raise ValueError(f"region '{region}' must name foreground classes, each once, not {members}")
        for modality in self.channels:
            if modality not in self.modalities:
                raise ValueError(f"channels names modality '{modality}'{did_you_mean(modality, self.modalities)}")
        for case in self.cases:
            if case.target is not None and case.target not in self.classes:
                raise ValueError(f"case '{case.id}' has target {case.target}, which classes does not have")
        ids = {case.id for case in self.cases}
        for split, members in self.splits.items():
            for member in members:
                if member not in ids:
                    raise ValueError(f"split '{split}' names case '{member}'{did_you_mean(member, ids)}")
        return self


def read_manifest(path: Path) -> DatasetManifest:
    """Reads a `dataset.yaml`.

    Args:
        path: The file. Its paths are relative to its folder and are not opened here.

    Returns:
        The manifest, brought to the present schema version.

    Raises:
        ConfigError: Not YAML, an unknown key (the nearest known one is named), a value of the wrong kind.
    """
    import yaml

    try:
        document = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path}: not a YAML file: {problem}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a data set manifest is a mapping with name, modalities and cases")
    try:
        return DatasetManifest.model_validate(_migrate(document, path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error, DatasetManifest)}") from None


def write_manifest(manifest: DatasetManifest, path: Path) -> None:
    """Writes a manifest for people to read and edit; a killed process leaves no half file.

    Args:
        manifest: Its paths must already be relative to the folder of `path` (see `relocate`).
        path: The YAML file.

    Raises:
        ResourceError: The folder cannot be written to.
    """
    import yaml

    document = manifest.model_dump(exclude_defaults=True, exclude={"schema_version"})
    document = {"schema_version": manifest.schema_version, **document}
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    write_text(path, yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110))


def save_manifest(manifest: DatasetManifest, root: Path, path: Path) -> None:
    """Writes down what was recognised, for the user to edit; from then on `path` opens the data set.

    Args:
        manifest: Of an open data set, so that classes which only its label files show are written too.
        root: Folder that its paths start from.
        path: A new YAML file, in any folder.

    Raises:
        ConfigError: The file is there already; what a user edited is never overwritten.
        ResourceError: The folder cannot be written to.
    """
    path = path.expanduser().absolute()
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: a manifest is called something.yaml, best {MANIFEST_NAME}")
    if path.exists():
        raise ConfigError(f"{path}: is there already: remove it or choose another name")
    write_manifest(relocate(manifest, root, path.parent), path)


def relocate(manifest: DatasetManifest, root: Path, new_root: Path) -> DatasetManifest:
    """The same data set with its paths relative to another folder.

    Args:
        manifest: Paths relative to `root`.
        root: Where the paths start now.
        new_root: Where they are to start.
    """

    def move(files: Files) -> Files:
        if isinstance(files, list):
            return [relative_path(root / name, new_root) for name in files]
        return relative_path(root / files, new_root)

    def move_label(label: Files | dict[int, str] | None) -> Files | dict[int, Files] | None:
        if isinstance(label, dict):
            return {frame: move(file) for frame, file in label.items()}
        return None if label is None else move(label)

    cases = [
        entry.model_copy(
            update={"images": {m: move(f) for m, f in entry.images.items()}, "label": move_label(entry.label)}
        )
        for entry in manifest.cases
    ]
    return manifest.model_copy(update={"cases": cases})


def relative_path(path: Path, start: Path) -> str:
    """`path` as seen from the folder `start`, with forward slashes; names of links inside `start` are kept."""
    if path.absolute().is_relative_to(start.absolute()):
        return path.absolute().relative_to(start.absolute()).as_posix()
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()


def _parse(text: str) -> Any:
    """What a YAML text says, read by libyaml where it is built in; mistakes are named by yaml itself."""
    import yaml

    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return yaml.safe_load(text)


def _migrate(document: dict[str, Any], path: Path) -> dict[str, Any]:
    version = document.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: schema_version {version} is newer than this recurseg reads ({SCHEMA_VERSION}): update recurseg"
        )
    while version < SCHEMA_VERSION:
        if version not in _MIGRATIONS:
            raise ConfigError(f"{path}: schema_version {version} was never in use: write {SCHEMA_VERSION}")
        document = _MIGRATIONS[version](document)
        version += 1
    return {**document, "schema_version": SCHEMA_VERSION}
