"""The demonstration: phantom, training, prediction of an unseen stack, evaluation."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from recurseg.data.phantoms import write_phantom
from recurseg.errors import ConfigError
from recurseg.evaluation import Evaluation, evaluate
from recurseg.inference.predict_paths import predict
from recurseg.training.run import Run, train

TRAINED_ON, UNSEEN = 1, 2
"""Seeds of the two phantoms."""
_SIZE = (12, 192, 192)


@dataclass(frozen=True)
class Demo:
    """What the demonstration made.

    Attributes:
        run: The training.
        predictions: Label files of the unseen stack.
        evaluation: Of those.
    """

    run: Run
    predictions: Path
    evaluation: Evaluation

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": str(self.run.folder),
            "predictions": str(self.predictions),
            "evaluation": self.evaluation.as_dict(),
        }


def demo(out: Path, *, minutes: float = 1.5, console: Console | None = None) -> Demo:
    """Trains PyraMiD-LSTM on a phantom stack of cells and applies it to another one.

    Args:
        out: Folder; one that an earlier demonstration wrote is replaced.
        minutes: Of training.
        console: Where progress is shown.

    Returns:
        Run, predictions and evaluation.

    Raises:
        ConfigError: If `out` holds other things.
    """
    console = console or Console(stderr=True)
    mark = out / ".recurseg-demo"
    if out.exists() and any(out.iterdir()) and not mark.exists():
        raise ConfigError(f"{out}: exists and is no demonstration: choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    mark.touch()
    data, unseen = out / "data", out / "unseen"
    for folder, seed in ((data, TRAINED_ON), (unseen, UNSEEN)):
        console.print(f"Phantom stack of cells, seed {seed}: {folder}", highlight=False)
        write_phantom("em_membranes", folder, size=_SIZE, seed=seed)
    run = train(data, out=out / "run", minutes=minutes, console=console)
    predictions = out / "predictions"
    predict(run.folder, unseen, out=predictions)
    evaluation = evaluate(predictions, unseen)
    evaluation.to_csv(out / "evaluation.csv")
    evaluation.to_json(out / "evaluation.json")
    return Demo(run, predictions, evaluation)
