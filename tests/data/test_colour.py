"""Colour images: three modalities that read one file; grey stays grey."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset
from recurseg.data.formats import image, is_colour, open_volume, write_like
from recurseg.data.manifest import save_manifest
from recurseg.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (6, 8, 3)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray = PICTURE, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(pixels, np.uint8))
    (picture.convert(mode) if mode else picture).save(path, lossless=True)  # which WebP alone asks for
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.tif"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_of_a_colour_file_is_an_image(tmp_path, name, channel):
    volume = open_volume(save(tmp_path / name), channel=channel)
    assert (volume.shape, volume.array.dtype, volume.notes) == ((6, 8), np.uint8, ())
    np.testing.assert_array_equal(volume.array[...], PICTURE[..., channel])
    np.testing.assert_array_equal(volume.array[2:, 3], PICTURE[2:, 3, channel])


def test_alpha_is_left_out_and_other_colour_spaces_are_converted(tmp_path):
    with_alpha = np.dstack([PICTURE, np.full((6, 8), 7)])
    volume = open_volume(save(tmp_path / "a.png", with_alpha), channel=2)
    np.testing.assert_array_equal(volume.array[...], PICTURE[..., 2])
    printed = save(tmp_path / "b.tiff", PICTURE, "CMYK").rename(tmp_path / "b.jpg")  # content decides, not the name
    expected = np.asarray(Image.open(printed).convert("RGB"))[..., 0]
    np.testing.assert_array_equal(open_volume(printed, channel=0).array[...], expected)


def test_all_channels_of_a_grey_file_are_its_values(tmp_path):
    grey = save(tmp_path / "grey.png", PICTURE[..., 0])
    deep = tmp_path / "deep.png"
    Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257).save(deep)
    for channel in (0, 1, 2):
        np.testing.assert_array_equal(open_volume(grey, channel=channel).array[...], PICTURE[..., 0])
        np.testing.assert_array_equal(open_volume(deep, channel=channel).array[...], PICTURE[..., 0] * np.uint16(257))


def test_a_palette_is_looked_up_where_colour_is_meant(tmp_path):
    path = save(tmp_path / "a.png", PICTURE, "P")
    expected = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(open_volume(path, channel=1).array[...], expected[..., 1])


def test_colour_stacks_are_folders_of_files_or_pages_of_a_tiff(tmp_path):
    stack = RNG.integers(0, 255, (4, 6, 8, 3)).astype(np.uint8)
    for number, picture in enumerate(stack):
        save(tmp_path / "folder" / f"{number}.png", picture)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="rgb", compression="deflate")
    for path in (tmp_path / "folder", tmp_path / "stack.tif"):
        volume = open_volume(path, channel=1)
        assert volume.shape == (4, 6, 8)
        np.testing.assert_array_equal(volume.array[...], stack[..., 1])
        np.testing.assert_array_equal(volume.array[2, 1:3], stack[2, 1:3, :, 1])


def test_formats_without_colour_have_no_channels(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4)), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=r"a\.nii\.gz: has no colour channels"):
        open_volume(tmp_path / "a.nii.gz", channel=0)


def test_colour_is_where_channels_differ(tmp_path):
    assert is_colour(save(tmp_path / "colour.png"))
    assert is_colour(save(tmp_path / "cmyk.jpg", PICTURE, "CMYK"))
    assert not is_colour(save(tmp_path / "grey.png", PICTURE[..., 0]))
    assert not is_colour(save(tmp_path / "grey_as_colour.png", np.dstack([PICTURE[..., 0]] * 3)))
    assert not is_colour(tmp_path / "nowhere.png")


def test_a_file_is_decoded_once_for_its_three_channels(tmp_path, monkeypatch):
    path, decoded = save(tmp_path / "a.png"), []
    opened = image._opened
    monkeypatch.setattr(image, "_opened", lambda p: decoded.append(p) or opened(p))
    volumes = [open_volume(path, channel=channel) for channel in range(3)]
    headers = len(decoded)
    for volume in volumes:
        volume.array[...]
    assert len(decoded) == headers + 1


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    path = save(tmp_path / "a.png")
    volume = open_volume(path, channel=0)
    volume.array[...]
    save(path, 255 - PICTURE)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(volume.array[...], 255 - PICTURE[..., 0])


def test_what_is_read_may_be_written_to(tmp_path):
    volume = open_volume(save(tmp_path / "a.png"), channel=0)
    volume.array[...][:] = 0
    np.testing.assert_array_equal(volume.array[...], PICTURE[..., 0])


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_labels_of_colour_images_are_written_like_those_of_grey_ones(tmp_path, name):
    like = open_volume(save(tmp_path / name), channel=0)
    labels = np.eye(6, 8, dtype=np.uint8)
    written = write_like(tmp_path / "out" / "a", labels, like)
    assert written.suffix == (".tif" if name == "a.tif" else ".png")
    np.testing.assert_array_equal(open_volume(written).array[...], labels)


# data sets


def test_pairs_of_colour_images_and_masks_have_three_modalities(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.png")
        save(tmp_path / "masks" / f"{name}.png", np.eye(6, 8) * 255)
    dataset = open_dataset(tmp_path)
    assert (dataset.manifest.layout, dataset.modalities) == ("paired_folders", ["red", "green", "blue"])
    assert any("channels are the modalities red, green and blue" in note for note in dataset.notes)
    assert dataset.class_names == ["background", "foreground"]
    for channel, volume in enumerate(dataset.cases[1].images.values()):
        np.testing.assert_array_equal(volume.array[...], PICTURE[..., channel])


@pytest.mark.parametrize("as_", [None, "stack"])
def test_folders_of_colour_images_without_labels_too(tmp_path, as_):
    for number in (1, 2, 5):
        save(tmp_path / "d" / f"{number}.png")
    dataset = open_dataset(tmp_path / "d", as_=as_)
    assert dataset.modalities == ["red", "green", "blue"]
    assert [case.shape for case in dataset.cases] == ([(3, 6, 8)] if as_ else [(6, 8)] * 3)


def test_a_single_colour_file_has_three_modalities_and_a_grey_one_has_one(tmp_path):
    assert open_dataset(save(tmp_path / "colour.png")).modalities == ["red", "green", "blue"]
    assert open_dataset(save(tmp_path / "grey.png", PICTURE[..., 0])).modalities == ["image"]


def test_grey_images_stored_as_colour_stay_one_modality(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", np.dstack([PICTURE[..., 0]] * 3))
    assert open_dataset(tmp_path).modalities == ["image"]


def test_a_grey_image_among_colour_ones_has_equal_channels(tmp_path):
    save(tmp_path / "a.png", PICTURE[::-1, :, 0])
    save(tmp_path / "b.png")
    dataset = open_dataset(tmp_path)
    red, green, blue = (volume.array[...] for volume in dataset.cases[0].images.values())
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)
    assert check_dataset(tmp_path).problems == [], "channels of one image are no duplicates"


def test_an_image_that_is_there_twice_is_said_once(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png")
    (problem,) = check_dataset(tmp_path).problems
    assert "identical voxels in a red, b red" in problem.message


def test_the_manifest_says_which_channel_a_modality_is(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "depth.png", PICTURE[..., 0])
    document = {
        "name": "d",
        "modalities": ["blue", "depth"],
        "channels": {"blue": 2},
        "cases": [{"id": "a", "images": {"blue": "a.png", "depth": "depth.png"}}],
    }
    path = tmp_path / "dataset.yaml"
    path.write_text(yaml.safe_dump(document))
    (case,) = open_dataset(path).cases
    np.testing.assert_array_equal(case.images["blue"].array[...], PICTURE[..., 2])
    np.testing.assert_array_equal(case.images["depth"].array[...], PICTURE[..., 0])
    for channels, said in (({"blu": 2}, "did you mean 'blue'"), ({"blue": 3}, "less than or equal to 2")):
        path.write_text(yaml.safe_dump({**document, "channels": channels}))
        with pytest.raises(ConfigError, match=said):
            open_dataset(path)


def test_a_recognised_colour_folder_is_written_down_and_opened_again(tmp_path):
    save(tmp_path / "d" / "a.png")
    dataset = open_dataset(tmp_path / "d")
    save_manifest(dataset.manifest, dataset.root, tmp_path / "mine.yaml")
    (case,) = open_dataset(tmp_path / "mine.yaml").cases
    np.testing.assert_array_equal(case.images["green"].array[...], PICTURE[..., 1])


def test_colour_where_grey_is_meant_says_both_ways_out(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: is a colour image.*convert it to grey.*channels: \{red: 0"):
        open_volume(save(tmp_path / "a.png"))


def test_labels_in_colour_are_still_refused(tmp_path):
    save(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"masks/a\.png: is a colour image"):
        open_dataset(tmp_path)
