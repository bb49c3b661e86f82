"""`report.html`: everything worth knowing of a run on one page that opens from disk, without network."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from recurseg.data.files import write_text
from recurseg.evaluation.metrics import METRICS
from recurseg.report.clinical import draw_clinical
from recurseg.report.completions import draw_completions
from recurseg.report.curves import charts
from recurseg.report.folder import RunFiles, read_run
from recurseg.report.html import render_page
from recurseg.report.numbers import case_table, main_metric, summary_rows, verdict
from recurseg.report.overlays import draw_cases


def write_report(run: Path | str) -> Path:
    """Writes a run's page: verdict, training curves, metrics, pictures of held-out cases, recipe, data and machine.

    The page is one file with everything inside; nothing is loaded from elsewhere. Where something is missing, such as
    the data set that the pictures are drawn from, the page says so in its place.

    Args:
        run: Folder that a training wrote.

    Returns:
        `RUN/report.html`.

    Raises:
        ConfigError: Where the folder is no run.
        DataError: Where a file of the run is damaged.
        ResourceError: Where the page cannot be written.
    """
    path = Path(run)
    page = path / "report.html"
    write_text(page, render(read_run(path)))
    return page


def render(run: RunFiles) -> str:
    """The page as HTML."""
    return render_page("report.html.j2", styles=["style.css"], script="page.js", **_content(run))


def _content(run: RunFiles) -> dict[str, Any]:
    manifest, recipe = run.manifest, run.recipe
    completes = recipe.get("task") == "regression"
    pictures, missing, dataset = draw_completions(run) if completes else draw_cases(run)
    model = recipe.get("model") or {}
    name = str(model.get("name", "model"))
    content = {
        "model": name,
        "options": model.get("options") or {},
        "dataset": manifest.get("dataset") or Path(str(manifest.get("data", "data"))).name,
        "run": run.path.resolve().name,
        "manifest": manifest,
        "facts": _facts(run),
        "charts": charts(run),
        "task": recipe.get("task", "segmentation"),
        "pictures": [] if completes else pictures,
        "completions": pictures if completes else [],
        "pictures_missing": missing,
        "why": recipe.get("why") or [],
        "recipe_name": recipe.get("name", ""),
        "recipe_yaml": _highlighted(run.recipe_text),
        "split": manifest.get("split") or {},
        "hashes": manifest.get("hashes") or {},
        "data_notes": list(dict.fromkeys(dataset.notes)) if dataset else [],
        "machine": _machine(manifest.get("machine") or {}),
        "versions": manifest.get("versions") or {},
        "started": _moment(manifest.get("started")),
        "finished": _moment(manifest.get("finished")),
        "duration": _duration(manifest.get("seconds")),
        "package": shlex.quote(str(run.path)),
        "package_repr": repr(str(run.path)),
        "verdict": None,
        "clinical": [],
        "evaluation_notes": [],
    }
    evaluation = run.evaluation
    if evaluation is not None and evaluation.rows:
        summaries = evaluation.full_summary()
        metric = main_metric(evaluation, run.metric)
        assert metric is not None
        names, classes, rows = case_table(evaluation, metric)
        content |= {
            "verdict": verdict(summaries, metric, len(evaluation.cases)),
            "summary": summary_rows(evaluation, summaries, metric),
            "metric_names": names,
            "class_names": classes,
            "case_rows": rows,
            "better": {id: METRICS[id].better for id in names if id in METRICS},
            "clinical": [draw_clinical(own) for own in (evaluation.cardiac, evaluation.lesions) if own],
            "unlisted": len(evaluation.cases) - len({row.case for row in rows}),
            "evaluation_notes": [note for note in evaluation.notes if note not in content["data_notes"]],
        }
    return content


def _facts(run: RunFiles) -> list[tuple[str, str]]:
    """What stands beside the verdict: (what, value)."""
    manifest = run.manifest
    steps, best = manifest.get("steps"), manifest.get("best_step")
    parameters = manifest.get("parameters")
    split = manifest.get("split") or {}
    facts = [
        ("parameters", f"{parameters:,}" if isinstance(parameters, int) else ""),
        ("training time", _duration(manifest.get("seconds"))),
        ("steps", f"{steps:,}" if isinstance(steps, int) else "not finished"),
        ("best checkpoint", f"step {best:,}" if isinstance(best, int) else ""),
        ("cases", f"{len(split.get('train', []))} trained on, {len(split.get('validation', []))} held out"),
        ("seed", str(manifest.get("seed", ""))),
    ]
    return [(what, value) for what, value in facts if value]


def _machine(machine: dict[str, Any]) -> list[tuple[str, str]]:
    words = {
        "processor": "processor",
        "cores": "cores",
        "threads": "threads used",
        "memory_gib": "memory",
        "gpu": "GPU",
        "system": "system",
    }
    shown = []
    for key, what in words.items():
        value = machine.get(key)
        if key in machine:
            text = "none" if value is None else f"{value} GiB" if key == "memory_gib" else str(value)
            shown.append((what, text))
    return shown + [(key, str(value)) for key, value in machine.items() if key not in words]


def _duration(seconds: Any) -> str:
    """Seconds in the unit that fits: 48 s, 12.4 min, 3 h 20 min."""
    if not isinstance(seconds, int | float):
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _moment(text: Any) -> str:
    try:
        return f"{datetime.fromisoformat(str(text)):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return ""


def _highlighted(text: str) -> Markup:
    """YAML with its keys marked."""
    lines = []
    for line in text.splitlines():
        found = re.match(r"^(\s*(?:- )?)([A-Za-z_]\w*)(:)(.*)$", line)
        if found:
            indent, key, colon, rest = (escape(part) for part in found.groups())
            lines.append(Markup("{}<b>{}</b>{}{}").format(indent, key, colon, rest))
        else:
            lines.append(escape(line))
    return Markup("\n").join(lines)
