"""One folder a case, its files told apart by what their names have in common across cases."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from recurseg.data.layouts.files import As, folders, is_dicom_folder, is_stack_folder, refuse_as, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path
from recurseg.errors import DataError

EXPECTS = "one folder a case with files named by modality (T1.nii.gz, FLAIR.nii.gz, seg.nii.gz)"

_LABEL_RANKS = (r"truth|(?<![a-z])gt(?![a-z])|gold", "seg", "label|lbl|multiclass", "annot", "lesions?$", "mask")
"""What a label file is called, the surest word first."""
_BRAIN_MASK = r"(brain|head|body|skull)[-_. ]?mask"
_NAMELESS = "image"
"""The short name of a file whose words are its own."""
_SEQUENCE = r"t1w?|t2w?|t1(c|ce|n|gd|post)|t2f|pdw?|flair|ir|adc|dwi|swi|asl|ct|pet"


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises folders of cases, or the folder of one case with several modalities."""
    every = folders(root)
    found = [f for f in every if volume_files(f) and not is_stack_folder(f) and not is_dicom_folder(f)]
    if len(found) * 2 <= len(every) or volume_files(root):
        every = found = [root] if _is_one_case(root) else []
    if not found:
        return None
    refuse_as(as_, root)
    names = _short_names({folder: volume_files(folder) for folder in found})
    labels = _labels({folder: list(keys) for folder, keys in names.items()})
    left_out = sorted({key for keys in names.values() for key in keys if _is_mask(key)} - {labels})
    counts = Counter(key for keys in names.values() for key in keys if key != labels and key not in left_out)
    modalities = sorted(counts)
    if not modalities or (len(found) > 1 and max(counts.values()) == 1):
        return None
    cases = []
    for folder, files in names.items():
        images: dict[str, Files] = {m: relative_path(files[m], root) for m in modalities if m in files}
        if not images:
            raise DataError(f"case {folder.name}: label without an image in {folder}")
        if _NAMELESS in images and counts[_NAMELESS] * 2 <= len(found) and len(modalities) > 1:
            raise DataError(
                f"case {folder.name}: {files[_NAMELESS]} has no name that files of other cases have: "
                "rename it, or name the files of each modality in a dataset.yaml"
            )
        label = relative_path(files[labels], root) if labels in files else None
        cases.append(CaseEntry(id=folder.name, patient=folder.name, images=images, label=label))
    notes = [f"files named {labels} are the labels"] if labels else ["no file is named like a label"]
    aside = [folder.name for folder in every if folder not in found]
    if aside:
        notes.append(f"folders without volumes left aside: {', '.join(aside)}")
    if left_out:
        notes.append(f"files named {', '.join(left_out)} are masks and left aside")
    return DatasetManifest(name=root.name, layout="case_folders", modalities=modalities, cases=cases, notes=notes)


def _is_one_case(root: Path) -> bool:
    files = volume_files(root)
    keys = list(_short_names({root: files})[root]) if files else []
    if len(keys) < 2 or len(keys) < len(files):
        return False
    named_alike = len(files) < 8 and all(stem(path).lower().startswith(root.name.lower()) for path in files)
    told_apart = all(any(_is_sequence(word) for word in _tokens(key)) or _label_rank(key) is not None for key in keys)
    return named_alike or told_apart


def _is_sequence(word: str) -> bool:
    return re.fullmatch(_SEQUENCE, word, re.IGNORECASE) is not None


def _short_names(files: dict[Path, list[Path]]) -> dict[Path, dict[str, Path]]:
    """Folder → short name → file.

    A name's words are those that most folders use, or that are known as a sequence, and that tell files of a folder
    apart; of folders with a single file each, all of them.
    """
    words = {folder: {path: _words(path, folder) for path in paths} for folder, paths in files.items()}
    used = Counter(w for paths in words.values() for w in {word for own in paths.values() for word in own})
    common = {word for word, number in used.items() if number * 2 > len(files) or _is_sequence(word)}
    sets = [[common & set(own) for own in paths.values()] for paths in words.values()]
    if any(len(own) > 1 for own in sets):
        common = {word for own in sets for word in set.union(*own) - set.intersection(*own)}
    short: dict[Path, dict[str, Path]] = {}
    for folder, paths in words.items():
        short[folder] = {}
        for path, own in paths.items():
            name = "_".join(word for word in own if word in common) or _NAMELESS
            if name in short[folder]:
                raise DataError(f"case {folder.name}: {path.name} and {short[folder][name].name} are both '{name}'")
            short[folder][name] = path
    return short


def _words(path: Path, folder: Path) -> list[str]:
    """Words of the file name without the case's name, which is no part of a word: the FLAIR of case a stays FLAIR."""
    longer = r"\d" if folder.name[-1].isdigit() else "[a-z]"
    own = rf"(?<![^\W_]){re.escape(folder.name)}(?!{longer})"
    return _tokens(re.sub(own, "", stem(path), flags=re.IGNORECASE))


def _tokens(name: str) -> list[str]:
    return [word for word in re.split(r"[-_. ]+", name) if word]


def _labels(names: dict[Path, list[str]]) -> str | None:
    """The short name that says label most surely, in the most folders."""
    counts = Counter(key for keys in names.values() for key in keys)
    ranked = [(rank, -number, key) for key, number in counts.items() if (rank := _label_rank(key)) is not None]
    return min(ranked)[2] if ranked else None


def _label_rank(name: str) -> int | None:
    if re.search(_BRAIN_MASK, name, re.IGNORECASE):
        return None
    for rank, word in enumerate(_LABEL_RANKS):
        if re.search(word, name, re.IGNORECASE):
            return rank
    return None


def _is_mask(name: str) -> bool:
    return re.search(_BRAIN_MASK, name, re.IGNORECASE) is not None or _label_rank(name) is not None
