"""Two folders with matching file names: images here, labels there; also `train`/`val` pairs of them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from recurseg.data.layouts.files import (
    IMAGE_WORD,
    LABEL_WORD,
    As,
    entries,
    folders,
    group,
    pair_key,
    patient_of,
    stem,
)
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path
from recurseg.errors import DataError

EXPECTS = "two folders with matching file names (images/ and labels/)"

_SPLIT = r"train(ing)?|val(id(ation)?)?|test(ing)?"

Pair = tuple[str, dict[str, Path], Path]
"""Name of the split, modality → folder of images, folder of labels."""


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises image and label folders, one pair or one for each of several splits."""
    pairs = _pairs_in(root, "")
    if not pairs:
        nested = [_pairs_in(sub, sub.name) for sub in folders(root) if re.match(_SPLIT, sub.name, re.IGNORECASE)]
        pairs = [pair for found in nested for pair in found]
    if not pairs:
        return None
    manifest, splits = None, {}
    for split, images, labels in pairs:
        cases, notes = _match(root, images, labels, as_, split if len(pairs) > 1 else root.name)
        splits[split] = [case.id for case in cases]
        if manifest is None:
            manifest = DatasetManifest(
                name=root.name, layout="paired_folders", modalities=list(images), cases=cases, notes=notes
            )
        elif list(images) == manifest.modalities:
            manifest.cases.extend(cases)
            manifest.notes.extend(f"{split}: {note}" for note in notes)
        else:
            raise DataError(f"{labels.parent}: its modalities {list(images)} are not those of {manifest.modalities}")
    assert manifest is not None
    if len(pairs) > 1:
        manifest.splits = splits
        manifest.notes.append(f"named splits: {', '.join(f'{n} ({len(ids)})' for n, ids in splits.items())}")
    return manifest


def _pairs_in(root: Path, split: str) -> list[Pair]:
    """Label folders of `root`, each with the image folders that go with it."""
    subs = folders(root)
    labels = {sub: _split_of(sub.name, LABEL_WORD) for sub in subs}
    pairs = []
    for label, prefix in labels.items():
        if prefix is None:
            continue
        others = [sub for sub in subs if labels[sub] is None]
        named = [sub for sub in others if _split_of(sub.name, IMAGE_WORD) == prefix or sub.name.lower() == prefix]
        if named:
            images = {"image": named[0]}
        else:
            keys = _keys(label)
            images = {sub.name: sub for sub in others if not prefix and keys and _keys(sub) == keys}
        if images:
            pairs.append((split or prefix, images, label))
    for (one, _, first), (other, _, second) in itertools.combinations(pairs, 2):
        if split or one == other:
            raise DataError(
                f"{root}: two label folders, {first.name} and {second.name}: write a dataset.yaml that names one"
            )
    return pairs


def _split_of(name: str, word: str) -> str | None:
    """What a folder name says beside image or label: `""` for images, `train` for train_images, else None."""
    match = re.fullmatch(rf"(?P<before>.*?)[-_. ]?{word}(?P<after>)", name, re.IGNORECASE)
    match = match or re.fullmatch(rf"(?P<before>){word}[-_. ](?P<after>.+)", name, re.IGNORECASE)
    if match is None:
        return None
    joined = match["before"] and name[len(match["before"])].isalnum()
    if joined and not re.fullmatch(_SPLIT, match["before"], re.IGNORECASE):
        return None
    return (match["before"] or match["after"]).lower()


def _keys(folder: Path) -> set[str]:
    return {pair_key(stem(path), LABEL_WORD) for path in entries(folder)}


def _match(
    root: Path, images: dict[str, Path], labels: Path, as_: As | None, stack_id: str
) -> tuple[list[CaseEntry], list[str]]:
    first = next(iter(images.values()))
    grouped = group(first, as_)
    how: As = "stack" if "" in grouped.files and len(grouped.files) == 1 else (as_ or "images")
    notes = list(grouped.notes)
    by_modality = {name: group(folder, how).files for name, folder in images.items()}
    label_files = group(labels, how).files
    if not grouped.files:
        raise DataError(f"{first}: no image files")
    if not label_files:
        raise DataError(f"{labels}: no label files")
    if how == "stack":
        for folder in images.values():
            _same_sections(folder, labels)
        stacks: dict[str, Files] = {name: _relative(files[""], root) for name, files in by_modality.items()}
        return [CaseEntry(id=stack_id, images=stacks, label=_relative(label_files[""], root))], notes

    words = _words(grouped.files, label_files)
    named = {name: _by_name(files, words[0]) for name, files in by_modality.items()}
    named_labels = _by_name(label_files, words[1])
    named_first = named[next(iter(images))]
    if not set(named_first) & set(named_labels):
        raise DataError(
            f"{labels}: no label has the name of an image: {min(named_labels)} here, {min(named_first)} in {first}"
        )
    for name, found in named_labels.items():
        if name not in named_first:
            raise DataError(f"label without an image: {_shown(found[0])}, nothing in {first} is called {name}")
        if len(found) > 1:
            raise DataError(f"two labels for one image: {_shown(found[0])} and {_shown(found[1])}")
    cases = []
    for name, found in named_first.items():
        for number in range(len(found)):
            own: dict[str, Files] = {}
            for modality, candidates in named.items():
                if len(candidates.get(name, [])) <= number:
                    raise DataError(f"case {name}: no file in {images[modality]}")
                own[modality] = _relative(candidates[name][number], root)
            label = _relative(named_labels[name][0], root) if name in named_labels else None
            cases.append(CaseEntry(id=name, patient=patient_of(name), images=own, label=label))
    if words != (None, None):
        notes.append("labels matched to images by the name before their suffix (_seg, _mask, ...)")
    return cases, notes


def _words(images: dict[str, Files], labels: dict[str, Files]) -> tuple[str | None, str | None]:
    """Which words to strip from the names of images and labels: none, unless more of them match without."""
    plain = set(_by_name(images, None)) & set(_by_name(labels, None))
    stripped = set(_by_name(images, IMAGE_WORD)) & set(_by_name(labels, LABEL_WORD))
    return (IMAGE_WORD, LABEL_WORD) if len(stripped) > len(plain) else (None, None)


def _by_name(grouped: dict[str, Files], word: str | None) -> dict[str, list[Files]]:
    """Files by the name they pair under; more than one file can bear a name."""
    found: dict[str, list[Files]] = {}
    for key, files in grouped.items():
        name = key if isinstance(files, list) else stem(Path(files))
        found.setdefault(pair_key(name, word) if word else name, []).append(files)
    return found


def _same_sections(images: Path, labels: Path) -> None:
    have = {pair_key(stem(path), LABEL_WORD): path for path in entries(labels)}
    want = {pair_key(stem(path), IMAGE_WORD): path for path in entries(images)}
    for name, path in want.items():
        if name not in have:
            raise DataError(f"section without its label: {path} has none in {labels}")
    for name, path in have.items():
        if name not in want:
            raise DataError(f"label without an image: {path} has none in {images}")


def _relative(files: Files, root: Path) -> Files:
    if isinstance(files, list):
        return [relative_path(Path(name), root) for name in files]
    return relative_path(Path(files), root)


def _shown(files: Files) -> str:
    return files[0] if isinstance(files, list) else files
