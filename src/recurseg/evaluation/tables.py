"""What an evaluation found, for reading: numbers, and the table of the summary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from recurseg.evaluation.statistics import FEWEST

if TYPE_CHECKING:
    from recurseg.evaluation.agreement import Agreeing, Agreement
    from recurseg.evaluation.burden import Lesions
    from recurseg.evaluation.lesions import Size
    from recurseg.evaluation.result import Evaluation, Summary
    from recurseg.evaluation.subsets import Subsets


def number(value: float) -> str:
    """Returns a value for reading: four decimals near 1, four digits far from it."""
    if math.isnan(value):
        return "undefined"
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def summary_table(evaluation: Evaluation) -> Any:
    """Returns a `rich.table.Table` of the summary; where cases have tags, also of each tag's cases."""
    from rich.table import Table

    count, groups = len(evaluation.cases), evaluation.groups
    table = Table(
        box=None, header_style="bold", padding=(0, 1, 0, 0),
        title=f"{count} case{'s' * (count != 1)}", title_justify="left",
    )  # fmt: skip
    limit = evaluation.limit
    for heading, shown in {
        "cases": bool(groups), "metric": True, "class": True, "average": evaluation.pooled is not None,
        "mean": True, "sd": True,
        "95 % interval" if count >= FEWEST else "values": True, str(limit): bool(limit), "unit": True,
    }.items():  # fmt: skip
        if shown:
            right = heading in ("mean", "sd")
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for tag, cases in [("all", evaluation.cases), *groups.items()]:
        for place, s in enumerate(evaluation.full_summary(cases)):
            lead = [f"{tag} ({len(cases)})" if place == 0 else ""] if groups else []
            failed = [str(s.failures or "")] if limit else []
            average = [s.average] if evaluation.pooled else []
            table.add_row(
                *lead, s.metric, s.class_name, *average, number(s.mean), _sd(s), _spread(s), *failed, s.unit
            )
    return table


def subsets_table(subsets: Subsets, metric: str) -> Any:
    """Returns a `rich.table.Table` of a metric: a line a subset with a dot for each modality, the mean below."""
    from rich.table import Table

    names, count = subsets.names(metric), len(subsets.cases)
    interval = " with 95 % interval" if count >= FEWEST else ""
    table = Table(
        box=None, header_style="bold", padding=(0, 1, 0, 0), title_justify="left",
        title=f"{metric}, {count} case{'s' * (count != 1)}, mean{interval}",
    )  # fmt: skip
    for modality in subsets.modalities:
        table.add_column(modality, justify="center")
    for name in names:
        table.add_column(name, justify="right")
    size = len(subsets.modalities)
    for subset, found in subsets.summaries.items():
        if len(subset) < size:
            table.add_row()
        size = len(subset)
        dots = ("●" if modality in subset else "·" for modality in subsets.modalities)
        shown = (found[metric, name] for name in names)
        table.add_row(*dots, *(_ranged(s.mean, s.interval) for s in shown))
    table.add_row()
    mean = (subsets.mean[metric, name] for name in names)
    lead = [f"mean of {len(subsets.summaries)}", *[""] * (len(subsets.modalities) - 1)]
    table.add_row(*lead, *(_ranged(*whole) for whole in mean), style="bold")
    return table


def agreement_table(found: Agreeing) -> Any:
    """Returns a `rich.table.Table` of quantities: a line each, predictions against labels."""
    from rich.table import Table

    count = len(found.ids)
    table = Table(
        box=None, header_style="bold", padding=(0, 1, 0, 0), title_justify="left",
        title=f"{found.what} of {count} {found.one}{'s' * (count != 1)}, difference = prediction − label",
    )  # fmt: skip
    for heading in ("quantity", "label", "prediction", "bias", "limits of agreement", "MAE", "r"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right", no_wrap=heading == "quantity")
    table.add_column("95 % interval of bias" if count >= FEWEST else "differences", overflow="fold")
    table.add_column("unit")
    for quantity in found.quantities:
        table.add_row(quantity.name, *agreement_cells(found.agreement[quantity.id]), quantity.unit)
    return table


def detection_table(lesions: Lesions, name: str) -> Any:
    """Returns a `rich.table.Table` of the lesions of a class, all cases together: a column a size."""
    from rich.table import Table

    count = len(lesions.cases)
    table = Table(
        box=None, header_style="bold", padding=(0, 1, 0, 0), title_justify="left",
        title=f"{name}, {count} case{'s together' if count > 1 else ''}: {lesions.rule.words}",
    )  # fmt: skip
    table.add_column("", no_wrap=True)
    for heading, _ in sized(lesions):
        table.add_column(heading, justify="right")
    for line in detection_lines(lesions, name):
        table.add_row(*line)
    return table


def sized(lesions: Lesions) -> list[tuple[str, str]]:
    """Heading and name of each size, all lesions first."""

    def words(size: Size) -> str:
        return f"> {size.above:g} mm³" if math.isinf(size.to) else f"≤ {size.to:g} mm³"

    return [("all", "all"), *((f"{name} {words(size)}", name) for name, size in lesions.sizes.items())]


def detection_lines(lesions: Lesions, name: str) -> list[list[str]]:
    """Lines of the table of a class: what is counted, then a cell a size."""
    found = [lesions.detection[name, size] for _, size in sized(lesions)]
    lines = [
        ["in the labels", *(str(own.counts.lesions) for own in found)],
        ["found", *(str(own.counts.found) for own in found)],
        ["predicted", *(str(own.counts.predicted) for own in found)],
        ["false", *(str(own.counts.false) for own in found)],
    ]
    words = {"tpr": "true-positive rate", "fpr": "false-positive rate", "f1": "F1"}
    for rate, word in words.items():
        lines.append([word, *(number(own.rates[rate].value) for own in found)])
        if len(lesions.cases) >= FEWEST:
            ends = (own.rates[rate].interval for own in found)
            lines.append(["  95 % interval", *(" – ".join(f"{end:.2f}" for end in pair or ()) for pair in ends)])
    return lines


def agreement_cells(found: Agreement) -> list[str]:
    """Label, prediction, bias, limits, mean absolute error, r, and interval or differences, for reading."""
    digits = found.digits
    if found.interval:
        spread = measured_range(found.interval, digits)
    else:
        spread = ", ".join(f"{patient} {signed(value, digits)}" for patient, value in found.values.items())
    if found.undefined:
        spread += f"  (undefined: {', '.join(found.undefined[:3])}{' …' if len(found.undefined) > 3 else ''})"
    return [
        measured(found.label, digits),
        measured(found.prediction, digits),
        signed(found.bias, digits),
        measured_range(found.limits, digits) if found.limits else "",
        measured(found.mean_absolute_error, digits),
        "" if math.isnan(found.correlation) else f"{found.correlation:.3f}",
        spread.strip(),
    ]


def measured(value: float, digits: int) -> str:
    """Returns millilitres, grams or per cent for reading."""
    return "undefined" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """Returns a difference as `measured` does, with its sign."""
    text = measured(value, digits)
    return text.replace("-", "−") if math.isnan(value) or round(value, digits) <= 0 else f"+{text}"


def measured_range(ends: tuple[float, float], digits: int) -> str:
    """Returns both ends of a range of differences."""
    return f"{signed(ends[0], digits)} to {signed(ends[1], digits)}"


def _ranged(value: float, interval: tuple[float, float] | None) -> str:
    return number(value) + (f" [{number(interval[0])}, {number(interval[1])}]" if interval else "")


def _sd(s: Summary) -> str:
    return "" if math.isnan(s.sd) else number(s.sd)


def _spread(s: Summary) -> str:
    spread = f"{number(s.interval[0])} – {number(s.interval[1])}" if s.interval else _listed(s.values)
    if s.undefined:
        spread += f"  (undefined: {', '.join(s.undefined[:3])}{' …' if len(s.undefined) > 3 else ''})"
    return spread.strip()


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{case} {number(value)}" for case, value in values.items())
