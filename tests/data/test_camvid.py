"""CamVid: sequences of a video and a split, without gaps, in colour."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recurseg.data.dataset import open_dataset, require_trainable
from recurseg.data.labels import class_labels
from recurseg.data.manifest import save_manifest
from recurseg.data.splits import split_cases
from recurseg.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def frames(root: Path, split: str, video: str, numbers, *, suffix="png", label: bool = True) -> None:
    """Frames whose red is their number modulo 256, and labels that begin with all twelve values."""
    for number in numbers:
        name = f"{video}_{number:05d}"
        (root / split).mkdir(parents=True, exist_ok=True)
        picture = RNG.integers(0, 255, (6, 16, 3)).astype(np.uint8)
        picture[..., 0] = number % 256
        Image.fromarray(picture).save(root / split / f"{name}.{suffix}", lossless=True)  # which WebP alone asks for
        if label:
            (root / f"{split}annot").mkdir(parents=True, exist_ok=True)
            classes = np.zeros((6, 16), np.uint8)
            classes[0, :12] = range(12)
            Image.fromarray(classes).save(root / f"{split}annot" / f"{name}.png")


def camvid(root: Path, *, suffix: str = "png") -> Path:
    frames(root, "train", "0001TP", range(6690, 6810, 30), suffix=suffix)
    frames(root, "train", "0006R0_f", [930, 960], suffix=suffix)
    frames(root, "train", "0016E5", [840, 870, 901, 930, 2400, 2430, 2460], suffix=suffix)
    frames(root, "val", "0016E5", range(7959, 7969, 2), suffix=suffix)
    for folder in ("train", "trainannot"):
        for path in (root / folder).glob("0006R0_f_*"):
            path.rename(path.with_name(path.name.replace("_f_", "_f")))
    return root


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_a_case_is_a_sequence_of_one_video_and_one_split(tmp_path, suffix):
    dataset = open_dataset(camvid(tmp_path, suffix=suffix))
    assert dataset.manifest.layout == "camvid"
    assert {case.id: case.shape for case in dataset.cases} == {
        "train_0001TP": (4, 6, 16),
        "train_0006R0": (2, 6, 16),
        "train_0016E5_1": (4, 6, 16),
        "train_0016E5_2": (3, 6, 16),
        "val_0016E5": (5, 6, 16),
    }
    assert all(case.slice_axis == 0 for case in dataset.cases)
    reds = {case.id: case.images["red"].array[:, 0, 0].tolist() for case in dataset.cases}
    assert reds["train_0016E5_1"] == [840 % 256, 870 % 256, 901 % 256, 930 % 256]
    assert reds["train_0016E5_2"] == [2400 % 256, 2430 % 256, 2460 % 256]
    require_trainable(dataset)


def test_gaps_and_the_rate_of_frames_are_said(tmp_path):
    notes = open_dataset(camvid(tmp_path)).notes
    assert (
        "train 0016E5: 7 frames, one in 30 of the film; 2 sequences, as there is a gap between 930 and 2400" in notes
    )
    assert "val 0016E5: 5 frames, one in 2 of the film" in notes
    assert "frames of video 0016E5 are in 2 splits, as published" in notes


def test_the_eleven_classes_have_names_and_the_twelfth_value_is_ignored(tmp_path):
    dataset = open_dataset(camvid(tmp_path))
    assert len(dataset.class_names) == 11
    assert (dataset.class_names[0], dataset.class_names[8], dataset.class_names[10]) == ("sky", "car", "cyclist")
    assert class_labels(dataset.cases[0])[1, 0, :12].tolist() == [*range(11), 255]


def test_channels_are_those_of_the_file(tmp_path):
    case = open_dataset(camvid(tmp_path)).cases[0]
    stored = np.asarray(Image.open(tmp_path / "train" / "0001TP_06720.png"))
    assert list(case.images) == ["red", "green", "blue"]
    for channel, volume in enumerate(case.images.values()):
        np.testing.assert_array_equal(volume.array[1], stored[..., channel])
        np.testing.assert_array_equal(volume.array[1, 2:4, 3:9], stored[2:4, 3:9, channel])


def test_the_published_split_holds_out_by_name_and_by_itself(tmp_path):
    frames(camvid(tmp_path), "test", "Seq05VD_f", [0, 30], label=True)
    for folder in ("test", "testannot"):
        for path in (tmp_path / folder).iterdir():
            path.rename(path.with_name(path.name.replace("_f_", "_f")))
    dataset = open_dataset(tmp_path)
    for holdout in ("val", None):
        split = split_cases(dataset, holdout)
        assert [case.id for case in split.validation] == ["val_0016E5"]
        assert {case.id[:5] for case in split.train} == {"train"}
        assert len(split.train) == 4
    assert [case.id for case in split_cases(dataset, "test").validation] == ["test_Seq05VD"]


def test_frames_without_a_folder_of_labels_are_for_prediction(tmp_path):
    frames(camvid(tmp_path), "test", "0001TP", [8550, 8580], label=False)
    dataset = open_dataset(tmp_path)
    assert "test_0001TP" not in [case.id for case in dataset.to_learn_from]
    require_trainable(dataset)


def test_a_frame_without_its_label_is_named(tmp_path):
    (camvid(tmp_path) / "valannot" / "0016E5_07961.png").unlink()
    with pytest.raises(DataError, match=r"section without its label: .*val/0016E5_07961\.png"):
        open_dataset(tmp_path)


def test_sequences_cannot_be_stacked_anew(tmp_path):
    camvid(tmp_path)
    assert len(open_dataset(tmp_path, as_="sequence").cases) == 5
    with pytest.raises(ConfigError, match="sequences"):
        open_dataset(tmp_path, as_="images")


def test_the_written_manifest_opens_the_same_sequences(tmp_path):
    dataset = open_dataset(camvid(tmp_path / "data"))
    save_manifest(dataset.manifest, dataset.root, tmp_path / "mine.yaml")
    again = open_dataset(tmp_path / "mine.yaml")
    for one, other in zip(dataset.cases, again.cases, strict=True):
        assert (one.id, one.patient) == (other.id, other.patient)
        np.testing.assert_array_equal(one.images["blue"].array[...], other.images["blue"].array[...])


def test_other_videos_are_general_folders(tmp_path):
    frames(tmp_path, "train", "street", [1, 2, 4])
    frames(tmp_path, "val", "street", [7, 9])
    dataset = open_dataset(tmp_path)
    assert (dataset.manifest.layout, dataset.modalities) == ("paired_folders", ["red", "green", "blue"])


def test_real_frames_are_read_as_they_lie():
    root = Path(os.environ.get("RECURSEG_DATA", "")) / "camvid"
    if not os.environ.get("RECURSEG_DATA") or not root.is_dir():
        pytest.skip("RECURSEG_DATA names no folder with camvid")
    dataset = open_dataset(root)
    split = split_cases(dataset, "val")
    assert sum(case.shape[0] for case in split.train) == 367
    assert sum(case.shape[0] for case in split.validation) == 101
    stored = np.asarray(Image.open(root / "train" / "0016E5_08220.webp"))
    last = next(case for case in split.train if case.id == "train_0016E5_3")
    np.testing.assert_array_equal(last.images["green"].array[1], stored[..., 1])
    require_trainable(dataset)
