"""A paper's table as data: what it measures, what it printed, and how each of its rows is run here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from recurseg.errors import ConfigError, did_you_mean
from recurseg.experiments.grid import expand

Scale = Literal["smoke", "small", "full"]
Statistic = Literal[
    "mean", "sd", "failures", "over_subsets", "lost_over_subsets", "over_epochs", "sd_over_epochs", "error"
]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Measure(_Data):
    """A column: a statistic of a metric over the held-out cases."""

    name: str
    """Heading."""
    metric: str
    """Id of a metric; "classifier_accuracy" where digits are completed; "dice:soft_batch", or a clinical number such
    as "lv_ef_percent"."""
    class_name: str | None = None
    """Of this class or region; null for the mean over classes."""
    statistic: Statistic = "mean"
    """Over cases; of a pooled metric "mean" is its value over all of them together. Those of subsets are the mean
    over cases of the mean over every subset of the modalities, and of what that lacks of all modalities. Those of
    epochs are mean and standard deviation over all validations of the training, as the thesis of γ-Net prints them.
    "error" is the mean absolute difference between a clinical number of the prediction and that of the label."""
    elsewhere: bool = False
    """Of the source's other data, which the network has not been trained on."""
    limit: float | None = None
    """Where failure begins."""
    factor: float = 1.0
    """What the paper prints is the number times this."""
    digits: PositiveInt = 3
    """That are shown."""

    @model_validator(mode="after")
    def _failures_have_a_limit(self) -> Measure:
        if (self.statistic == "failures") != (self.limit is not None):
            raise ValueError(f"measure {self.name}: failures have a limit, and nothing else has")
        return self

    @property
    def of_subsets(self) -> bool:
        """Whether it takes predictions from every subset of the modalities."""
        return self.statistic in ("over_subsets", "lost_over_subsets")


class Fact(_Data):
    """A column: what the run knows of itself."""

    name: str
    """Heading."""
    fact: Literal["parameters", "peak_memory_mib"]
    """Field of the result."""
    factor: float = 1.0
    """What is shown is the number times this."""


class Pair(_Data):
    """Two rows whose held-out cases are compared one by one."""

    row: str
    rival: str


class Place(_Data):
    """Where data come from."""

    name: str
    """Name in the ledger."""
    what: str
    """What it is and what is held out, said in the table."""
    layout: str | None = None
    """Known layout of a folder that the user has."""
    phantom: str | None = None
    """Made-up data set that stands in where there is no folder."""
    cases: PositiveInt | None = None
    """Cases of the phantom; null for its own number."""
    size: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Size of the phantom; null for its own."""
    cines: bool = False
    """Whether the films of a folder that holds both are taken, not their labelled frames."""
    holdout: str | None = None
    """What validates; null of data of another origin: all of it is measured."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.layout is None) == (self.phantom is None):
            raise ValueError(f"source {self.name}: name either a layout or a phantom")
        return self


class Source(Place):
    """Data that the table can be run on; the first of a table's that is at hand is taken."""

    elsewhere: Place | None = None
    """Data of another origin, such as another scanner's, whose held-out cases trained networks are tried on too."""
    scale: Literal["small", "full"] | None = None
    """The one scale that it is for; null for both."""
    test: str | None = None
    """Case of digits that are completed and measured after the training; null where what validates is measured."""
    recipe_settings: list[str] = Field(default_factory=list)
    """Changes of the paper's recipe that these data ask for."""


class Training(_Data):
    """How a row is trained at one scale."""

    model: str | None = None
    """Model, whose default recipe is planned for the data."""
    recipe: str | None = None
    """Or a paper's recipe."""
    minutes: PositiveFloat | None = None
    steps: PositiveInt | None = None
    holdout: str | None = None
    """What validates, instead of what the source says."""
    fraction: PositiveFloat | None = None
    """How much of the training patients is used; null for all."""
    repeats: int | None = Field(default=None, ge=2)
    """Number of random splits that it is trained on, with seeds one after the other; null for one training."""
    init: str | None = None
    """Row whose weights are gone on with."""
    elsewhere: bool = False
    """Whether it trains on the source's other data."""
    settings: list[str] = Field(default_factory=list)
    """Changes of the recipe; in a table's file also lists of them, which other trainings share."""

    @field_validator("settings", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return list(_leaves(value)) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_kind(self) -> Training:
        if (self.model is None) == (self.recipe is None):
            raise ValueError("name either a model or a recipe")
        return self


class Row(_Data):
    """A network of the table."""

    id: str
    name: str
    """What the table calls it."""
    small: Training | None = None
    """On two cores; null where that is too slow."""
    full: Training | None = None
    """As the paper; null where the paper has no such row."""
    smoke: Training | None = None
    """A few steps, to see that it runs."""

    def training(self, scale: Scale) -> Training | None:
        return getattr(self, scale)


class Table(_Data):
    """A paper's table."""

    schema_version: Literal[1]
    id: str
    title: str
    source: str
    """Paper and number of the table."""
    measures: list[Measure]
    facts: list[Fact] = Field(default_factory=list)
    """Columns after those of the measures."""
    printed_on: str = ""
    """What the paper's numbers were measured on; "" where the table is none of a paper's."""
    printed: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Row of the paper → heading → number as printed."""
    scaled: dict[Scale, str] = Field(default_factory=dict)
    """Scale → how trainings differ from the paper's there, said below the table."""
    sources: list[Source]
    """Data for small and full, the best first."""
    smoke: Source
    """Data for the smoke scale."""
    rows: list[Row]
    ranks: bool = False
    """Whether rows are ranked by the sum of their ranks over the measures."""
    pairs: list[Pair] = Field(default_factory=list)
    """Rows that are compared case by case."""
    per_patient: bool = False
    """Whether the cases of a patient count as one, with their mean."""
    sparse: bool = False
    """Whether a scale shows those rows alone that are run there."""
    subsets: bool = False
    """Whether the held-out cases are also predicted from every subset of the modalities."""
    plot: Literal["curves", "cells", "fractions"] = "curves"
    """Validation over minutes; where images are completed, the measures over the size of the cell; or the first
    measure over the fraction of the training patients."""

    @model_validator(mode="after")
    def _measures_what_there_is(self) -> Table:
        asking = next((measure.name for measure in self.measures if measure.of_subsets), None)
        if asking and not self.subsets:
            raise ValueError(f"measure {asking}: takes 'subsets: true'")
        return self

    def rows_at(self, scale: Scale) -> list[Row]:
        """The rows to run and to show at a scale."""
        return [row for row in self.rows if row.training(scale)] if self.sparse else self.rows

    def row(self, id: str) -> Row:
        """Raises ConfigError for an unknown row, with the nearest known one."""
        by_id = {row.id: row for row in self.rows}
        if id not in by_id:
            raise ConfigError(f"{self.id} has no row '{id}'{did_you_mean(id, by_id)}")
        return by_id[id]


def _leaves(parts: list[Any]) -> Iterator[Any]:
    for part in parts:
        yield from _leaves(part) if isinstance(part, list) else [part]


def list_tables() -> list[str]:
    """Ids of all tables, such as "pyramid_lstm/table1"."""
    papers = (files("recurseg.experiments") / "tables").iterdir()
    return sorted(f"{paper.name}/{file.name.removesuffix('.yaml')}" for paper in papers for file in paper.iterdir())


def find_table(id: str) -> Table:
    """Reads a table. Raises ConfigError for an unknown id, with the nearest known one."""
    known = list_tables()
    if id not in known:
        raise ConfigError(f"no table '{id}'{did_you_mean(id, known)}")
    content = yaml.safe_load((files("recurseg.experiments") / "tables" / f"{id}.yaml").read_text())
    return Table.model_validate(expand(content))
