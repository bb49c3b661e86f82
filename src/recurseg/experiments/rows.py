"""Runs the rows of a table that the ledger does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurseg.data.dataset import Dataset, open_dataset
from recurseg.data.splits import split_cases
from recurseg.errors import ConfigError
from recurseg.evaluation import METRICS, Evaluation, evaluate
from recurseg.evaluation.pairing import sections_of
from recurseg.experiments.completion import measure_completion
from recurseg.experiments.elsewhere import held_out, metrics_of, patients_of, try_on
from recurseg.experiments.ledger import Ledger, Result, source_commit
from recurseg.experiments.sources import find_data, find_elsewhere
from recurseg.experiments.splits import together
from recurseg.experiments.subsets import measure_subsets
from recurseg.experiments.table import Place, Row, Scale, Source, Table, Training
from recurseg.training.log import read_log
from recurseg.training.plan import plan
from recurseg.training.provenance import one_hash
from recurseg.training.recipe import Recipe
from recurseg.training.recipe_files import published_recipe
from recurseg.training.repeats import Repeats, is_repeated, train_repeats
from recurseg.training.run import Run, train
from recurseg.training.settings import override
from recurseg.training.validation import SOFT_DICE


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


@dataclass(frozen=True)
class Places:
    """The data of a table that are at hand: its source's, and those of another origin where it has them."""

    source: Source
    folder: Path
    elsewhere: Path | None

    def at_hand(self, away: bool) -> tuple[Place, Path] | None:
        """The source's data or, `away`, those of another origin, and where they are; None where they are not."""
        if not away:
            return self.source, self.folder
        return (self.source.elsewhere, self.elsewhere) if self.source.elsewhere and self.elsewhere else None


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
    elsewhere = find_elsewhere(source, scale, data, work)
    dataset, ledger = open_dataset(folder), Ledger(results)
    for row in chosen:
        training = row.training(scale)
        if training is None:
            yield Entry(row, source, f"no {scale} run", None)
            continue
        recipe = _recipe(training, source, dataset)
        result = ledger.read(table.id, source.name, scale, row.id)
        state = _state(result, recipe, training)
        runs = work / table.id / source.name / scale
        out = runs / f"{row.id}-{recipe.digest()[:8]}{'-repeated' * (training.repeats is not None)}"
        if training.elsewhere and elsewhere is None:
            yield Entry(row, source, "no data of another origin", None)
            continue
        if state != "done" and run:
            places = Places(source, folder, elsewhere)
            finished = _train(training, recipe, places, out, _first_run(table, training, places, scale, runs))
            each = [_result(table, row, scale, recipe, own, places, training.elsewhere, work) for own in finished]
            result, state = (_pooled(each, out, finished) if training.repeats else each[0]), "done"
            ledger.write(result)
        yield Entry(row, source, state, result if state == "done" else None, out)


def _recipe(training: Training, source: Source, dataset: Dataset) -> Recipe:
    """The recipe of a row, before minutes become steps."""
    if training.recipe is not None:
        recipe = override(published_recipe(training.recipe), source.recipe_settings)
    else:
        recipe = plan(dataset, model=training.model or "", minutes=training.minutes)
    return override(recipe, training.settings)


def _state(result: Result | None, recipe: Recipe, training: Training) -> str:
    if result is None:
        return "not run"
    if result.recipe_hash != recipe.digest():
        return "stale: the recipe changed"
    splits = len(result.splits.results) if result.splits else None
    return "done" if splits == training.repeats else "stale: the splits changed"


def _first_run(table: Table, training: Training, places: Places, scale: Scale, runs: Path) -> Path | None:
    """The run whose weights a row goes on with. Raises ConfigError where it has not been finished here."""
    if training.init is None:
        return None
    first = table.row(training.init).training(scale)
    assert first is not None
    digest = _recipe(first, places.source, open_dataset(places.folder)).digest()
    folder = runs / f"{training.init}-{digest[:8]}"
    if not (folder / "package").is_dir():
        raise ConfigError(f"{table.id}: needs the run of row {training.init} ({folder}): reproduce that row first")
    return folder


def _train(training: Training, recipe: Recipe, places: Places, out: Path, init: Path | None) -> list[Run]:
    """The finished runs of a row, one a split."""
    if (out / "validation" / "metrics.json").exists() and "finished" in Run(out).manifest:
        return [Run(out)]
    at_hand = places.at_hand(training.elsewhere)
    assert at_hand is not None
    place, folder = at_hand
    asked: dict[str, Any] = {
        "recipe": recipe,
        "minutes": training.minutes,
        "steps": training.steps,
        "holdout": training.holdout or place.holdout,
        "fraction": training.fraction,
        "init": init,
        "out": out,
    }
    if training.repeats is None:
        return [train(folder, **asked, resume=(out / "manifest.json").exists())]
    return [*train_repeats(folder, **asked, repeats=training.repeats, resume=is_repeated(out)).runs]


def _result(
    table: Table, row: Row, scale: Scale, recipe: Recipe, run: Run, places: Places, away: bool, cache: Path
) -> Result:
    manifest, source = run.manifest, places.source
    if source.test is not None:
        measured = _completed(source, run, open_dataset(places.folder), cache)
    else:
        measured = _segmented(table, run, places, away)
    return Result(
        table=table.id,
        row=row.id,
        source=source.name,
        scale=scale,
        holdout=manifest["holdout"],
        split=manifest["split"]["description"],
        data_hash=one_hash(manifest["hashes"]),
        recipe_hash=recipe.digest(),
        recipe=run.recipe.model_dump(mode="json", exclude={"data"}),
        minutes=manifest["minutes"],
        seconds=manifest["seconds"],
        steps=manifest["steps"],
        best_step=manifest["best_step"],
        parameters=manifest["parameters"],
        peak_memory_mib=manifest.get("peak_memory_mib"),
        fraction=manifest.get("fraction"),
        soft=_soft(run),
        **measured,
        curve=_curve(run),
        commit=source_commit(),
        versions=manifest["versions"],
        machine=manifest["machine"],
        finished=manifest["finished"],
    )


def _segmented(table: Table, run: Run, places: Places, away: bool) -> dict[str, Any]:
    """What was measured of the held-out cases; `away` where the run was trained on the data of another origin."""
    held = held_out(open_dataset(run.manifest["data"]), run.manifest["holdout"], run)
    found = evaluate(run.folder / "validation", held, also=metrics_of(table))
    other = places.at_hand(not away)
    beyond, strangers = try_on(*other, table, run) if other else (Evaluation([]), {})
    home, abroad = (beyond, found) if away else (found, beyond)
    return {
        "evaluation": [line.as_dict() for line in home.rows],
        "elsewhere": [line.as_dict() for line in abroad.rows],
        "patients": patients_of(held) | strangers if table.per_patient else {},
        "cardiac": home.cardiac and home.cardiac.as_dict(),
        "confusion": home.pooled and home.pooled.as_dict(),
        "subsets": measure_subsets(run.folder, held) if table.subsets else [],
        "sections": _by_section(table, run, held),
    }


def _pooled(each: list[Result], out: Path, runs: list[Run]) -> Result:
    return together(each, Repeats(out, runs).held_over_trained)


def _completed(source: Source, run: Run, dataset: Dataset, cache: Path) -> dict[str, Any]:
    train = split_cases(dataset, source.holdout, seed=run.recipe.seed, labelled=False).train
    assert source.test is not None
    return {
        "evaluation": [],
        "completion": measure_completion(run.folder, dataset, train=train, test=source.test, cache=cache),
    }


def _by_section(table: Table, run: Run, held: Dataset) -> list[dict]:
    """Membrane metrics of every section, where what was held out is one stack."""
    metrics = [id for id in metrics_of(table) if METRICS[id].takes == "membrane"]
    stack = held.cases[0]
    if not metrics or len(held.cases) != 1 or stack.slice_axis is None:
        return []
    first = int((sections_of(stack.id) or "0").split("-")[0])
    rows = []
    for section in range(stack.shape[stack.slice_axis]):
        found = evaluate(run.folder / "validation", held, metrics=metrics, sections=str(section))
        rows.append({"section": first + section, **{metric: found.value(metric) for metric in metrics}})
    return rows


def _soft(run: Run) -> list[float]:
    events = read_log(run.folder / "log.jsonl")
    return [e["values"][SOFT_DICE] for e in events if e["event"] == "validation" and SOFT_DICE in e["values"]]


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
            if source.scale in (None, scale)
            and (result := ledger.read(table.id, source.name, scale, row.id)) is not None
        ]
        due = row in table.rows_at("small")
        entries += found or ([Entry(row, table.sources[0], "not run", None)] if due else [])
    return entries
