"""`recurseg train`: trains a model on a data set and leaves a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Argument(help="Data set, or a recipe that names one.", show_default=False),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model, from 'recurseg models'; pyramid_lstm by default.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe instead of one planned: a YAML file, or a paper's, e.g. pyramid_lstm/paper_em."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training; fixed as steps after a timed warm-up.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates, instead of minutes.")] = None,
    holdout: Annotated[
        str | None,
        typer.Option(
            help="What validates: case ids, a fraction, a fold '2/5', 'every 4th', sections '16-19' or a named split."
        ),
    ] = None,
    fraction: Annotated[
        float | None, typer.Option(help="How much of the training patients to use, e.g. 0.1; all by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and samples.")] = None,
    init: Annotated[Path | None, typer.Option(help="Package or run whose weights to start from.")] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            help="Train on so many random splits, seeds s, s + 1, ...; --out gets a run each and repeats.json."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. optimizer.lr=1e-3."),
    ] = None,
    as_: Annotated[
        Literal["stack", "images", "sequence"] | None,
        typer.Option(
            "--as", help="How to take a folder of 2-D files; 'sequence' also: films of ACDC, not single frames."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugin: Annotated[str | None, typer.Option(help="Module that registers a model of your own.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Trains a model; the run folder gets its package, held-out predictions, metrics and report.

    On several GPUs or machines: `torchrun --nproc-per-node 4 -m recurseg train ...`, or `srun recurseg train ...`;
    the recipe's batch is what all of them share.
    """
    import json

    from rich import print as show

    from recurseg.training.distributed import first
    from recurseg.training.repeats import is_repeated, train_repeats
    from recurseg.training.run import train as train_run

    asked: dict[str, Any] = {
        "model": model,
        "recipe": recipe,
        "out": out,
        "steps": steps,
        "minutes": minutes,
        "seed": seed,
        "holdout": holdout,
        "fraction": fraction,
        "resume": resume,
        "init": init,
        "settings": set_ or (),
        "as_": as_,
        "device": device,
        "plugin": plugin,
    }
    if repeats is not None or (resume and is_repeated(out)):
        repeated = train_repeats(data, repeats=repeats, **asked)
        if json_:
            print(json.dumps(repeated.as_dict()))
        else:
            show(repeated.table())
            show(f"Runs: {', '.join(str(run.folder) for run in repeated.runs)}")
        return
    run = train_run(data, **asked)
    if not first():
        return
    if json_:
        print(json.dumps({"run": str(run.folder), "evaluation": run.evaluation.as_dict()}))
    else:
        show(run.evaluation.table())
        show(f"Report: {run.folder / 'report.html'}")
