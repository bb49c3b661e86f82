"""The ledger: one JSON file for each row that has been run, with all that its numbers came from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import recurseg
from recurseg.data.files import write_json
from recurseg.errors import DataError
from recurseg.evaluation.pooled import Pooled
from recurseg.evaluation.result import Evaluation, Row
from recurseg.evaluation.subsets import Subset
from recurseg.evaluation.summary import mean_of
from recurseg.experiments.completion import Completion
from recurseg.experiments.subsets import SubsetDice
from recurseg.experiments.table import Scale
from recurseg.training.provenance import one_hash


class Splits(BaseModel):
    """A row that was trained on several random splits."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    held_over_trained: float
    """Cases that were held out over cases that were trained on."""
    summary: list[dict[str, Any]]
    """Each metric and class over the splits, as in `repeats.json` of `recurseg train --repeats`."""
    results: list[Result]
    """Each split by itself, in the order of the seeds."""


class Result(BaseModel):
    """A row as it was run."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    schema_version: Literal[2] = 2
    table: str
    row: str
    source: str
    """Name of the data in the table."""
    scale: Scale
    holdout: str
    split: str
    """What trained and what was held out, as the run said it."""
    data_hash: str
    """SHA-256 of those of all files, which the run's manifest has one by one."""
    recipe_hash: str
    """Of the recipe as planned, before minutes became steps; another one makes the row stale."""
    recipe: dict[str, Any]
    """The recipe as it ran."""
    minutes: float | None
    """Asked for; null where steps were."""
    seconds: float
    """That it took, reading and final measuring included."""
    steps: int
    best_step: int | None
    parameters: int
    peak_memory_mib: int | None = None
    """Most memory held while training, 2²⁰ bytes; null where it was not or cannot be measured."""
    evaluation: list[dict[str, Any]]
    """Each case, class and metric of the held-out data, of the best checkpoint; none where `splits` has it."""
    confusion: dict[str, Any] | None = None
    """Confusion matrix of each held-out case, where pooled metrics were measured; as in the JSON of `evaluate`."""
    subsets: list[SubsetDice] = Field(default_factory=list)
    """Where the table asks for it: the Dice from every subset of the modalities, all of them first."""
    patients: dict[str, str] = Field(default_factory=dict)
    """Case → patient, where the cases of a patient count as one."""
    elsewhere: list[dict[str, Any]] = Field(default_factory=list)
    """Where the table tries networks on data of another origin: each case, class and metric of those."""
    soft: list[float] = Field(default_factory=list)
    """`dice:soft_batch` of each validation of the training, where the recipe asks for it."""
    cardiac: dict[str, Any] | None = None
    """Clinical numbers of the held-out patients, where they are hearts."""
    fraction: float | None = None
    """How much of the training patients was used; null for all."""
    completion: Completion | None = None
    """Where digits were completed: how the test digits came out; `evaluation` is empty then."""
    sections: list[dict[str, Any]] = Field(default_factory=list)
    """Where a single stack was held out in part: the membrane metrics of each section."""
    splits: Splits | None = None
    """Where the row was repeated: what each split gave. `seconds` are those of all, `curve` that of the first."""
    curve: list[dict[str, float]]
    """The metric that chose the checkpoint, over steps and minutes."""
    commit: str | None
    """Of recurseg's sources, where they are a checkout."""
    versions: dict[str, str]
    machine: dict[str, Any]
    finished: str

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, content: Any) -> Any:
        """Version 1 had the hash of every file."""
        if not isinstance(content, dict) or content.get("schema_version") != 1:
            return content
        kept = {key: value for key, value in content.items() if key != "data_hashes"}
        return kept | {"schema_version": 2, "data_hash": one_hash(content["data_hashes"])}

    @property
    def on_first_split(self) -> Result:
        """The row on the first of its splits; itself where there is one alone."""
        return self.splits.results[0] if self.splits else self

    @property
    def evaluated(self) -> Evaluation:
        """The evaluation with its statistics."""
        pooled = Pooled.from_dict(self.confusion) if self.confusion else None
        return Evaluation(self._rows(self.evaluation), regions=pooled.regions if pooled else {}, pooled=pooled)

    @property
    def evaluated_elsewhere(self) -> Evaluation:
        """The evaluation of the data of another origin."""
        return Evaluation(self._rows(self.elsewhere))

    def _rows(self, plain: list[dict[str, Any]]) -> list[Row]:
        """Values of the cases, or of the patients where their cases count as one."""
        rows = [Row.from_dict(row) for row in plain]
        return by_patient(rows, self.patients) if self.patients else rows

    @property
    def evaluated_by_subset(self) -> dict[Subset, Evaluation]:
        """The evaluation from every subset of the modalities, all of them first; empty where none was measured."""
        whole = self.evaluated
        beyond = {row.class_name for row in whole.rows if row.region}
        return {tuple(own.modalities): own.evaluation(whole.regions, beyond) for own in self.subsets}


def by_patient(rows: Sequence[Row], patients: Mapping[str, str]) -> list[Row]:
    """One row a patient, class and metric: the mean of the defined values of his or her cases."""
    values: dict[Row, list[float]] = {}
    for row in rows:
        values.setdefault(replace(row, case=patients[row.case], value=0.0), []).append(row.value)
    return [replace(row, value=mean_of(own)) for row, own in values.items()]


class Ledger:
    """The results under a folder.

    Args:
        root: Folder with `<table>/<source>/<scale>/<row>.json`; need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: str, source: str, scale: str, row: str) -> Path:
        return self.root / table / source / scale / f"{row}.json"

    def read(self, table: str, source: str, scale: str, row: str) -> Result | None:
        """The stored result, None where the row was not run. Raises DataError for a damaged file."""
        path = self.path(table, source, scale, row)
        if not path.exists():
            return None
        try:
            return Result.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (ValidationError, ValueError) as error:
            raise DataError(f"{path}: not a result ({str(error).splitlines()[0]}): delete it and run again") from None

    def write(self, result: Result) -> Path:
        """Stores a result and returns its file."""
        path = self.path(result.table, result.source, result.scale, result.row)
        write_json(path, result.model_dump(mode="json"))
        return path


def source_commit() -> str | None:
    """The commit of recurseg's own sources; None where they are not a checkout, or git is missing."""
    here = Path(recurseg.__file__)
    commands = (["git", "ls-files", "--error-unmatch", here.name], ["git", "rev-parse", "HEAD"])
    try:
        runs = [subprocess.run(c, cwd=here.parent, capture_output=True, text=True, check=True) for c in commands]
    except (OSError, subprocess.CalledProcessError):
        return None
    return runs[-1].stdout.strip()
