"""`recurseg evaluate`: how good predictions are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recurseg.evaluation import Evaluation, Subsets


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder from `recurseg predict`, or label files.")],
    labels: Annotated[Path, typer.Argument(help="Data set, or label files.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Per-case table: a .csv or .json file, or a folder for both."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="ID,ID", help="Metrics by id. Default: all that the inputs allow.")
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="MM,MM", help="Millimetres per voxel, one an axis of the file.")
    ] = None,
    classes: Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Class names, background first.")] = None,
    sections: Annotated[
        str | None, typer.Option(metavar="A-B", help="Only these sections of a stack, counted from 0.")
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=C,C", help="Measure classes as one mask, such as core=1,3,4; for several, again."),
    ] = None,
    failures: Annotated[
        str | None, typer.Option(metavar="LIMIT", help="Count cases with a Dice below LIMIT, or METRIC=LIMIT.")
    ] = None,
    clinical: Annotated[
        bool | None,
        typer.Option(
            "--clinical/--no-clinical",
            help="Volumes, mass and ejection fraction of hearts. Default: what the data allow.",
        ),
    ] = None,
    lesions: Annotated[
        bool | None,
        typer.Option(
            "--lesions/--no-lesions",
            help="Lesions found, false, counted and in ml, by size. Default: where a class is called lesion.",
        ),
    ] = None,
    lesion_rule: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help="Neighbours that join a lesion (26, 18, 6), how much of it must be found (overlap_0.1_18: a tenth).",
        ),
    ] = "any_overlap_26",
    lesion_sizes: Annotated[
        str, typer.Option(metavar="MM3,MM3", help="Largest small and largest medium lesion, in mm³.")
    ] = "30,150",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare predicted with reference labels: a value a case, class and metric, means and intervals.

    A folder from `recurseg predict --subsets` gives a line a subset of the modalities, and with --out a bar chart.
    Hearts of a data set give clinical numbers of each patient, lesions are counted one by one, found and false; both
    give a Bland-Altman plot with --out.
    """
    from recurseg import evaluation

    check_out(out)
    options = {
        "spacing": millimetres(spacing),
        "class_names": listed(classes),
        "sections": sections,
        "regions": named_classes(regions),
    }
    if evaluation.subset_folders(predictions):
        check_subsets(out, failures, {"--clinical": clinical, "--lesions": lesions})
        several = evaluation.evaluate_subsets(predictions, labels, metrics=listed(metrics) or ["dice"], **options)
        show_subsets(several, save_subsets(several, out), json_)
        return
    found = evaluation.evaluate(
        predictions,
        labels,
        metrics=listed(metrics),
        failures=failures,
        clinical=clinical,
        lesions=lesions,
        lesion_rule=lesion_rule,
        lesion_sizes=volumes(lesion_sizes),
        **options,
    )
    written = save(found, out)
    if json_:
        typer.echo(json.dumps(found.as_dict()))
        return

    from rich.console import Console

    Console().print(found.table())
    for s in found.summary():
        if s.failures and s.failures.cases:
            typer.echo(f"{found.limit} of {s.class_name}: {', '.join(s.failures.cases)}")
    for numbers in (found.cardiac, found.lesions):
        if numbers:
            Console().print(numbers.table())
    close(found.notes, written)


def close(notes: list[str], written: list[Path]) -> None:
    """Prints what else is to say."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    for path in written:
        typer.echo(f"written: {path}")


def listed(text: str | None) -> list[str] | None:
    """Splits "a, b" into its parts; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def millimetres(text: str | None) -> tuple[float, ...] | None:
    """Reads "1,1,5" as millimetres."""
    from recurseg.errors import ConfigError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--spacing {text}: write millimetres with commas, such as 1,1,5") from None


def volumes(text: str) -> tuple[float, ...]:
    """Reads "30,150" as mm³."""
    from recurseg.errors import ConfigError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--lesion-sizes {text}: write two volumes in mm³, such as 30,150") from None


def named_classes(texts: list[str] | None) -> dict[str, list[int]] | None:
    """Reads "complete=1,2,3,4 core=1,3,4", in one text or in several; None stays None."""
    from recurseg.errors import ConfigError

    if texts is None:
        return None
    found = {}
    for part in " ".join(texts).split():
        name, _, classes = part.partition("=")
        try:
            found[name] = [int(number) for number in classes.split(",")]
        except ValueError:
            raise ConfigError(f"--regions {part}: write a name and its classes, such as core=1,3,4") from None
    return found


def check_out(out: Path | None) -> None:
    """Refuses an output of unknown kind before anything is computed."""
    from recurseg.errors import ConfigError

    if out is not None and out.suffix not in ("", ".csv", ".json") and not out.is_dir():
        raise ConfigError(f"--out {out}: name a .csv file, a .json file or a folder")


def save(found: Evaluation, out: Path | None) -> list[Path]:
    """Writes the evaluation where `--out` says; returns the files."""
    if out is None:
        return []
    if out.suffix == ".csv" and not out.is_dir():
        return [found.to_csv(out)]
    if out.suffix == ".json" and not out.is_dir():
        return [found.to_json(out), *save_plots(found, out.with_suffix(".svg"))]
    written = [found.to_csv(out / "evaluation.csv"), found.to_json(out / "evaluation.json")]
    if found.cardiac:
        written.append(found.cardiac.to_csv(out / "cardiac.csv"))
    if found.lesions:
        written.append(found.lesions.to_csv(out / "lesions.csv"))
    return written + save_plots(found, out / "bland_altman.svg")


def save_plots(found: Evaluation, plot: Path) -> list[Path]:
    """Draws the Bland-Altman plots of hearts and of lesions, in a file of its own; returns the files."""
    from recurseg.report.bland_altman import write_bland_altman

    places = {plot: found.cardiac, plot.with_stem(f"{plot.stem}_lesions"): found.lesions}
    return [write_bland_altman(numbers, place) for place, numbers in places.items() if numbers]


def check_subsets(out: Path | None, failures: str | None, switches: dict[str, bool | None]) -> None:
    """Refuses what subsets of modalities do not have."""
    from recurseg.errors import ConfigError

    if out is not None and out.suffix == ".csv" and not out.is_dir():
        raise ConfigError(f"--out {out}: subsets of modalities are written as a .json file, or into a folder")
    if failures is not None:
        raise ConfigError(f"--failures {failures}: counts cases of one prediction; name the folder of one subset")
    if switch := next((name for name, wanted in switches.items() if wanted), None):
        raise ConfigError(f"{switch}: measures one prediction; name the folder of one subset")


def save_subsets(found: Subsets, out: Path | None) -> list[Path]:
    """Writes the JSON document and beside it the bar chart; returns the files."""
    from recurseg.report.subsets import write_subsets

    if out is None:
        return []
    document = out if out.suffix == ".json" and not out.is_dir() else out / "evaluation.json"
    return [found.to_json(document), write_subsets(found, document.with_suffix(".svg"))]


def show_subsets(found: Subsets, written: list[Path], json_: bool) -> None:
    """Prints a table a metric, or the JSON document."""
    if json_:
        typer.echo(json.dumps(found.as_dict()))
        return
    from rich.console import Console

    for metric in found.metrics:
        Console().print(found.table(metric))
    close(found.notes, written)
