"""Label files and maps of a case of any size, written as they are predicted; a killed run goes on inside the case."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Case
from recurseg.data.formats.slabs import slab_writer
from recurseg.inference.bounded import Target, predict_bounded
from recurseg.inference.predictor import Segmenter, out_of_memory, without

MAPS_FOLDER = "probabilities"


def write_bounded(
    segmenter: Segmenter,
    case: Case,
    out: Path,
    *,
    mark: str,
    max_ram: int,
    probabilities: bool = False,
    flips: bool = False,
    keep_largest: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, Any]:
    """Predicts a case into its files in bounded memory; returns its entry in the index, as `write_prediction` does.

    Args:
        segmenter: Of a stored model of segmentation.
        case: Its modalities as the model names them.
        out: Folder of the results.
        mark: Fingerprint of case, package and settings; what a killed run left under it is continued.
        max_ram: As for `predict_bounded`, like `flips`, `keep_largest`, `tell` and `progress`.
        probabilities: Whether to write a map of each foreground class too.

    Raises:
        ConfigError, DataError, ResourceError: As for `predict_bounded`.
    """
    case, spec = without(case, segmenter.given), segmenter.spec
    like = case.reference
    values = np.asarray(spec.file_values)
    values = values.astype(np.uint8 if values.max() < 256 else np.uint16)
    mark = f"{mark} {probabilities}"
    with ExitStack() as stack, out_of_memory(case, spec):
        maps = {
            number: stack.enter_context(
                slab_writer(out / MAPS_FOLDER / f"{case.id}_class{number}", like, np.float32, mark=mark)
            )
            for number in range(1, len(spec.class_names) if probabilities else 1)
        }
        labels = stack.enter_context(slab_writer(out / case.id, like, np.uint8, mark=mark, values=values))

        def note(done: int) -> None:
            for writer in (*maps.values(), labels):
                writer.note(done)

        predict_bounded(
            segmenter,
            case,
            Target(
                labels.array,
                {number: writer.array for number, writer in maps.items()},
                first=min(writer.resumed for writer in (labels, *maps.values())),
                note=note,
                folder=out / f".{case.id}.state",
                about=mark,
            ),
            max_ram=max_ram,
            flips=flips,
            keep_largest=keep_largest,
            tell=tell,
            progress=progress,
        )
    named = {spec.class_names[number]: writer.path.relative_to(out).as_posix() for number, writer in maps.items()}
    return {
        "label": labels.path.relative_to(out).as_posix(),
        "probabilities": next(iter(named.values()), None),
        "maps": named,
        "source": str(like.path),
    }
