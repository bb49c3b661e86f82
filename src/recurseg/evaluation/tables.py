"""What an evaluation found, for reading: numbers, and the table of the summary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from recurseg.evaluation.statistics import FEWEST

if TYPE_CHECKING:
    from recurseg.evaluation.result import Evaluation, Summary


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
        "cases": bool(groups), "metric": True, "class": True, "mean": True, "sd": True,
        "95 % interval" if count >= FEWEST else "values": True, str(limit): bool(limit), "unit": True,
    }.items():  # fmt: skip
        if shown:
            right = heading in ("mean", "sd")
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for tag, cases in [("all", evaluation.cases), *groups.items()]:
        for place, s in enumerate(evaluation.full_summary(cases)):
            lead = [f"{tag} ({len(cases)})" if place == 0 else ""] if groups else []
            failed = [str(s.failures or "")] if limit else []
            table.add_row(*lead, s.metric, s.class_name, number(s.mean), _sd(s), _spread(s), *failed, s.unit)
    return table


def _sd(s: Summary) -> str:
    return "" if math.isnan(s.sd) else number(s.sd)


def _spread(s: Summary) -> str:
    spread = f"{number(s.interval[0])} – {number(s.interval[1])}" if s.interval else _listed(s.values)
    if s.undefined:
        spread += f"  (undefined: {', '.join(s.undefined[:3])}{' …' if len(s.undefined) > 3 else ''})"
    return spread.strip()


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{case} {number(value)}" for case, value in values.items())
