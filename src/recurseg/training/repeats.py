"""One training repeated on random splits of its data: runs with seeds s, s + 1, ..., and their numbers together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from recurseg.data.dataset import As, open_dataset
from recurseg.data.files import require_writable, write_json
from recurseg.data.splits import split_cases
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import Evaluation
from recurseg.evaluation.over_splits import (
    CAUTION,
    SplitsSummary,
    cases_over_splits,
    splits_table,
    summarise_splits,
)
from recurseg.training.distributed import require_alone
from recurseg.training.recipe import Recipe
from recurseg.training.run import Run, data_and_recipe, train

REPEATS_NAME = "repeats.json"


@dataclass(frozen=True)
class Repeats:
    """Runs of one recipe that differ in seed and split alone.

    Attributes:
        folder: Holds `repeats.json` and the run folders `repeat-1`, `repeat-2`, ...
        runs: All finished.
    """

    folder: Path
    runs: Sequence[Run]

    @property
    def evaluations(self) -> list[Evaluation]:
        """How the held-out cases of each run came out."""
        return [run.evaluation for run in self.runs]

    @property
    def held_over_trained(self) -> float:
        """Cases that were held out over cases that were trained on, over all splits."""
        splits = [run.manifest["split"] for run in self.runs]
        return sum(len(own["validation"]) for own in splits) / sum(len(own["train"]) for own in splits)

    @property
    def summary(self) -> list[SplitsSummary]:
        """Each metric and class over the splits."""
        return summarise_splits(self.evaluations, held_over_trained=self.held_over_trained)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data, with null for undefined values."""
        manifests = [run.manifest for run in self.runs]
        names = [run.folder.name for run in self.runs]
        return {
            "schema_version": 1,
            "repeats": len(self.runs),
            "notes": [CAUTION, *_same_splits(names, manifests)],
            "splits": [
                {
                    "run": name,
                    "seed": own["seed"],
                    "trained": len(own["split"]["train"]),
                    "held_out": own["split"]["validation"],
                    "steps": own["steps"],
                    "seconds": own["seconds"],
                }
                for name, own in zip(names, manifests, strict=True)
            ],
            "summary": [entry.as_dict() for entry in self.summary],
            "cases": [
                line | {"values": {names[place]: value for place, value in line["values"].items()}}
                for line in cases_over_splits(self.evaluations)
            ],
        }

    def table(self) -> Any:
        """Returns a `rich.table.Table` of the summary."""
        return splits_table(self.summary)


def train_repeats(
    data: Path | str | None = None,
    *,
    repeats: int | None = None,
    out: Path | str,
    recipe: Recipe | Path | str | None = None,
    holdout: str | None = None,
    as_: As | None = None,
    resume: bool = False,
    device: str = "auto",
    console: Console | None = None,
    **options: Any,
) -> Repeats:
    """Trains one recipe on several random splits: an ordinary run each, then their numbers together.

    Run k has the seed s + k − 1, which decides weights, samples and split; s is `seed`, or the recipe's. Of minutes
    the first run makes steps, and the others take as many.

    Args:
        data: As for `train`; with `resume` it may be left out.
        repeats: Number of splits, at least 2; with `resume` it may be left out, or be another than at first.
        out: Folder of `repeat-1`, `repeat-2`, ... and of `repeats.json`; must not exist, but for `resume`.
        recipe: As for `train`.
        holdout: A fraction or a fold "2/5", whose patients the seed draws.
        as_: As for `train`.
        resume: Go on where it was broken off: finished runs are left as they are, a broken one is resumed.
        device: "auto", "cpu" or "cuda".
        console: Where progress is shown; standard error by default.
        options: Others of `train`.

    Returns:
        All runs. Their means over splits are in `out/repeats.json` too; see `recurseg.evaluation.over_splits`.

    Raises:
        ConfigError: Impossible options; a holdout that no seed changes, such as case ids; several processes.
        DataError: Data that cannot be trained on, or that changed between two runs.
    """
    require_alone("a repeated training")
    folder, console = Path(out), console or Console(stderr=True)
    begun = _begun(folder) if resume else None
    repeats = repeats or begun
    if repeats is None or repeats < 2:
        raise ConfigError(f"--repeats {repeats}: repeat a training at least 2 times")
    if not resume:
        _require_new(folder)
        _require_random(data, recipe, holdout, as_)
    if repeats != begun:
        write_json(folder / REPEATS_NAME, {"schema_version": 1, "repeats": repeats})
    shown = {"device": device, "console": console}
    first = folder / "repeat-1"
    console.rule(f"repeat 1 of {repeats}")
    runs = [
        train(data, out=first, recipe=recipe, holdout=holdout, as_=as_, resume=_resumable(first), **options, **shown)
    ]
    facts, settled = runs[0].manifest, runs[0].recipe
    for number in range(2, repeats + 1):
        console.rule(f"repeat {number} of {repeats}")
        own = folder / f"repeat-{number}"
        if _resumable(own):
            run = train(out=own, resume=True, **shown)
        else:
            run = train(
                facts["data"],
                recipe=settled.model_copy(update={"seed": settled.seed + number - 1}),
                holdout=facts["holdout"],
                fraction=facts["fraction"],
                init=facts["asked"]["init"],
                as_=facts["as"],
                out=own,
                **shown,
            )
        if run.manifest["hashes"] != facts["hashes"]:
            raise DataError(f"{facts['data']}: changed between {first} and {own}: begin anew with another --out")
        runs.append(run)
    found = Repeats(folder, runs)
    write_json(folder / REPEATS_NAME, found.as_dict())
    return found


def is_repeated(folder: Path) -> bool:
    """Whether a folder holds repeated trainings, finished or not."""
    return (folder / REPEATS_NAME).is_file()


def _begun(folder: Path) -> int:
    if not is_repeated(folder):
        raise ConfigError(f"{folder}: no repeated training to resume: train without --resume")
    return json.loads((folder / REPEATS_NAME).read_text())["repeats"]


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists already: choose another --out, or go on with --resume")
    require_writable(folder)


def _require_random(
    data: Path | str | None, recipe: Recipe | Path | str | None, holdout: str | None, as_: As | None
) -> None:
    dataset = open_dataset(data_and_recipe(data, recipe)[0], as_=as_)
    if not split_cases(dataset, holdout, labelled=False).random:
        what = f"--holdout {holdout}" if holdout else f"{dataset.root} has a split of its own, which"
        raise ConfigError(f"{what} is the same for every seed: repeat with a fraction such as --holdout 0.2")


def _resumable(folder: Path) -> bool:
    """Whether a run has begun; what a kill left before that is cleared away."""
    begun = (folder / "manifest.json").exists()
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)
    return begun


def _same_splits(names: Sequence[str], manifests: Sequence[dict[str, Any]]) -> list[str]:
    """Notes of runs that by chance hold out the same cases."""
    by_cases: dict[frozenset[str], list[str]] = {}
    for name, own in zip(names, manifests, strict=True):
        by_cases.setdefault(frozenset(own["split"]["validation"]), []).append(name)
    return [f"{', '.join(alike)} hold out the same cases" for alike in by_cases.values() if len(alike) > 1]
