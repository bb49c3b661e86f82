"""CamVid: road videos, `train/0001TP_006690.png` with its classes in `trainannot/`; also `val` and `test`."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from itertools import pairwise
from pathlib import Path

from recurseg.data.case import IGNORE
from recurseg.data.layouts.colour import CHANNELS
from recurseg.data.layouts.files import As, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path
from recurseg.errors import ConfigError, DataError

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist")
UNLABELLED = 11
SPLITS = ("train", "val", "test")
GAP = 1.5
"""A step between frames that is so many times the video's usual one begins a new sequence."""
_FRAME = r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)"

Video = dict[int, Path]
"""Frame number → image, in order."""


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the splits of the SegNet tutorial by the names of CamVid's videos.

    A case is a sequence: frames of one video and one split, in order and without a gap, one a section.
    """
    found = {split: videos for split in SPLITS if (root / split).is_dir() and (videos := _videos(root / split))}
    if not any((root / f"{split}annot").is_dir() for split in found):
        return None
    if as_ in ("stack", "images"):
        raise ConfigError(f"{root}: CamVid's frames are sequences: leave '--as {as_}' out")
    cases: dict[str, list[CaseEntry]] = {}
    notes = [
        "colour images: their channels are the modalities red, green and blue",
        f"label value {UNLABELLED} (unlabelled) is ignored in losses and metrics",
    ]
    for split, videos in found.items():
        cases[split] = []
        for name, video in videos.items():
            sequences, said = _sequences(video)
            notes.append(f"{split} {name}: {said}")
            for number, frames in enumerate(sequences, start=1):
                id = f"{split}_{name}_{number}" if len(sequences) > 1 else f"{split}_{name}"
                cases[split].append(_case(id, f"{split}_{name}", frames, root / f"{split}annot"))
    times = Counter(name for videos in found.values() for name in videos)
    notes += [f"frames of video {name} are in {n} splits, as published" for name, n in times.items() if n > 1]
    return DatasetManifest(
        name=root.name,
        layout="camvid",
        modalities=list(CHANNELS),
        channels=CHANNELS,
        classes=dict(enumerate(CLASSES)),
        label_map={**{number: number for number in range(len(CLASSES))}, UNLABELLED: IGNORE},
        splits={split: [case.id for case in own] for split, own in cases.items()},
        notes=notes,
        cases=[case for own in cases.values() for case in own],
    )


def _videos(folder: Path) -> dict[str, Video]:
    """Video → its frames; none where a file is no frame of CamVid."""
    videos: dict[str, Video] = {}
    for path in volume_files(folder):
        match = re.fullmatch(_FRAME, stem(path))
        if match is None:
            return {}
        videos.setdefault(match[1], {})[int(match[2])] = path
    return {name: dict(sorted(video.items())) for name, video in sorted(videos.items())}


def _sequences(video: Video) -> tuple[list[list[Path]], str]:
    """The frames of a video, parted where some are missing, and what was decided."""
    step = statistics.median_low([after - before for before, after in pairwise(video)] or [1])
    gaps = [(before, after) for before, after in pairwise(video) if after - before > GAP * step]
    starts = [after for _, after in gaps]
    sequences: list[list[Path]] = [[]]
    for frame, path in video.items():
        if frame in starts:
            sequences.append([])
        sequences[-1].append(path)
    said = f"{len(video)} frames, one in {step} of the film"
    if gaps:
        missing = ", ".join(f"{before} and {after}" for before, after in gaps)
        said += f"; {len(sequences)} sequences, as there is a gap between {missing}"
    return sequences, said


def _case(id: str, patient: str, frames: list[Path], labels: Path) -> CaseEntry:
    root = labels.parent
    images: Files = [relative_path(frame, root) for frame in frames]
    by_name = {stem(path): path for path in volume_files(labels)} if labels.is_dir() else {}
    if not by_name:
        return CaseEntry(id=id, patient=patient, images=dict.fromkeys(CHANNELS, images), for_prediction=True)
    without = next((frame for frame in frames if stem(frame) not in by_name), None)
    if without is not None:
        raise DataError(f"section without its label: {without} has none in {labels}")
    return CaseEntry(
        id=id,
        patient=patient,
        images=dict.fromkeys(CHANNELS, images),
        label=[relative_path(by_name[stem(frame)], root) for frame in frames],
    )
