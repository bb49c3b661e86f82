"""Gathers finished runs into one JSON of measured numbers and, for several, one plot of their validation curves.

    python examples/collect_results.py docs/results/em RUN [RUN ...]

writes `docs/results/em.json` and `docs/results/em.svg`. No path of the machine goes into either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from recurseg.data.files import write_json
from recurseg.training.log import read_log
from recurseg.training.run import Run

SHOWN = (
    "pixel_error:fraction@0.5",
    "pixel_error:best_f",
    "rand_error",
    "dice",
    "hd95_mm",
    "avd_percent",
)


def row(run: Run) -> dict:
    """What a table needs to know of a run."""
    manifest, recipe = run.manifest, run.recipe
    summary = run.evaluation.as_dict()["summary"]
    return {
        "model": recipe.model.name,
        "options": recipe.model.options,
        "parameters": manifest["parameters"],
        "recipe": recipe.name,
        "recipe_hash": manifest["recipe_hash"],
        "data": manifest["dataset"],
        "split": manifest["split"]["description"],
        "minutes": manifest["minutes"],
        "steps": manifest["steps"],
        "best_step": manifest["best_step"],
        "seconds": manifest["seconds"],
        "machine": manifest["machine"],
        "torch": manifest["versions"]["torch"],
        "summary": [line for line in summary if line["metric"] in SHOWN],
        "curve": curve(run),
    }


def curve(run: Run) -> list[dict[str, float]]:
    """Step, minutes and value of the recipe's metric at each validation."""
    points, seconds = [], 0.0
    for event in read_log(run.folder / "log.jsonl"):
        seconds += event["seconds"]
        if event["event"] == "validation":
            value = event["values"][run.recipe.validation.metric]
            points.append({"step": event["step"], "minutes": round(seconds / 60, 2), "value": value})
    return points


def plot(rows: list[dict], metric: str, path: Path) -> None:
    """Validation curves over minutes, one line a run."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "recurseg"
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for line in rows:
        x, y = zip(*((point["minutes"], point["value"]) for point in line["curve"]), strict=True)
        axes.plot(x, y, marker="o", label=f"{line['model']} ({line['parameters'] / 1e6:.2f} M)")
    axes.set(xlabel="minutes of training", ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main(out: Path, folders: list[Path]) -> None:
    runs = [Run(folder) for folder in folders]
    rows = [row(run) for run in runs]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    write_json(out.with_suffix(".json"), {"collected_at_commit": commit, "rows": rows})
    if len(runs) > 1:
        plot(rows, runs[0].recipe.validation.metric, out.with_suffix(".svg"))
    print(json.dumps([{key: line[key] for key in ("model", "steps", "summary")} for line in rows], indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
