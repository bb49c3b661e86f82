"""Zarr arrays and OME-Zarr images as the specification and zarr-python have them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from recurseg.data.dataset import open_dataset
from recurseg.data.formats import format_of, name_of, open_volume, open_written, write_like
from recurseg.data.formats.slabs import slab_writer
from recurseg.errors import ConfigError, DataError
from recurseg.training.provenance import data_hashes

zarr = pytest.importorskip("zarr")
RNG = np.random.default_rng(4)
STACK = RNG.integers(0, 200, (6, 7, 8)).astype(np.uint16)


def save_ome(
    path: Path, array: np.ndarray, axes: str, *, version: str = "0.4", unit: str | None = "micrometer"
) -> Path:
    """An image of two levels, its metadata written out as the specification prints them."""
    scale = {"t": 2.0, "c": 1.0, "z": 4.0, "y": 0.5, "x": 0.5}
    kinds = {"t": "time", "c": "channel"}
    described = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for axis in described:
        if axis["type"] == "space" and unit:
            axis["unit"] = unit
        if axis["type"] == "time":
            axis["unit"] = "millisecond"
    levels = []
    for number in range(2):
        factors = [scale[a] * (2**number if a in "yx" else 1) for a in axes]
        levels.append({"path": f"s{number}", "coordinateTransformations": [{"type": "scale", "scale": factors}]})
    image = {"axes": described, "datasets": levels, "name": "scan"}
    image["coordinateTransformations"] = [{"type": "scale", "scale": [2.0 if a == "z" else 1.0 for a in axes]}]
    omero = {"channels": [{"label": "nuclei"}, {"label": "membranes"}]}
    path.mkdir(parents=True)
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": [{"version": version, **image}], "omero": omero}))
    else:
        attributes = {"ome": {"version": version, "multiscales": [image], "omero": omero}}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (path / "zarr.json").write_text(json.dumps(group))
    for number, data in enumerate((array, array[..., ::2, ::2])):
        chunks = tuple(min(4, n) for n in data.shape)
        zarr.create_array(path / f"s{number}", data=data, chunks=chunks, zarr_format=2 if version == "0.4" else 3)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_finest_level_is_read_with_its_voxel_size_in_millimetres(tmp_path: Path, version: str) -> None:
    volume = open_volume(save_ome(tmp_path / "scan.ome.zarr", STACK[None, None], "tczyx", version=version))
    assert (volume.format, volume.shape, volume.stack_axis, volume.time_axis) == ("zarr", STACK.shape, 0, None)
    np.testing.assert_allclose(volume.spacing, (0.008, 0.0005, 0.0005))
    assert volume.spacing_known
    np.testing.assert_array_equal(volume.array[...], STACK)
    np.testing.assert_array_equal(volume.array[1:4, ::2, -1], STACK[1:4, ::2, -1])
    np.testing.assert_array_equal(volume.array[::-1], STACK[::-1])
    assert volume.notes == ("length-1 axis squeezed: (1, 1, 6, 7, 8) read as (6, 7, 8)",)


def test_a_cine_keeps_its_frames_and_their_seconds(tmp_path: Path) -> None:
    film = np.stack([STACK, STACK + 1])
    volume = open_volume(save_ome(tmp_path / "film.zarr", film, "tzyx"))
    assert (volume.time_axis, volume.frames) == (0, 2)
    assert volume.spacing[0] == 0.002
    np.testing.assert_array_equal(volume.frame(1).array[2], STACK[2] + 1)


def test_without_a_unit_the_voxel_size_is_not_known(tmp_path: Path) -> None:
    volume = open_volume(save_ome(tmp_path / "scan.zarr", STACK, "zyx", unit=""))
    assert not volume.spacing_known
    assert volume.spacing == (1.0, 1.0, 1.0)
    assert "no unit of length" in volume.notes[0]


def test_channels_become_modalities_by_their_names(tmp_path: Path) -> None:
    both = np.stack([STACK, STACK[::-1]])
    path = save_ome(tmp_path / "scan.zarr", both, "czyx")
    with pytest.raises(DataError, match="holds 2 channels; say in a dataset"):
        open_volume(path)
    (case,) = open_dataset(path, with_labels=False).cases
    assert (case.id, list(case.images)) == ("scan", ["nuclei", "membranes"])
    np.testing.assert_array_equal(case.images["membranes"].array[...], STACK[::-1])


def test_plain_arrays_and_groups_of_arrays(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=STACK, attributes={"spacing": [3, 1, 1]})
    volume = open_volume(tmp_path / "a.zarr")
    assert volume.spacing == (3.0, 1.0, 1.0)
    np.testing.assert_array_equal(volume.array[2:], STACK[2:])
    group = zarr.open_group(tmp_path / "b.zarr", mode="w", attributes={"spacing": [2, 1, 1]})
    group.create_array("image", data=STACK)
    group.create_array("other", data=STACK + 1)
    assert open_volume(tmp_path / "b.zarr").spacing == (2.0, 1.0, 1.0)
    np.testing.assert_array_equal(open_volume(tmp_path / "b.zarr" / "other").array[0], STACK[0] + 1)
    group = zarr.open_group(tmp_path / "c.zarr", mode="w")
    for name in ("raw", "more"):
        group.create_array(name, data=STACK)
    with pytest.raises(DataError, match=r"it holds more, raw: name one as c.zarr/name"):
        open_volume(tmp_path / "c.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_of_an_ome_image_are_one_with_its_voxel_size(tmp_path: Path, version: str) -> None:
    source = open_volume(save_ome(tmp_path / "scan.zarr", STACK, "zyx", version=version))
    labels = (STACK % 3).astype(np.uint8)
    written = write_like(tmp_path / "out" / "scan", labels, source)
    assert written.name == "scan.zarr"
    back = open_written(written)
    np.testing.assert_array_equal(back.array[...], labels)
    np.testing.assert_allclose(back.spacing, source.spacing)
    attributes = dict(zarr.open_group(written, mode="r").attrs)
    assert "image-label" in (attributes if version == "0.4" else attributes["ome"])
    write_like(tmp_path / "out" / "scan", labels + 1, source)
    np.testing.assert_array_equal(open_volume(written).array[...], labels + 1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan.zarr"]


def test_slabs_and_maps_and_plain_arrays_are_written(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=STACK, attributes={"spacing": [3.0, 1.0, 1.0]}, zarr_format=2)
    source = open_volume(tmp_path / "a.zarr")
    with slab_writer(tmp_path / "out" / "b", source, np.uint8) as writer:
        assert writer.axis == 0
        for start in range(6):
            writer.write(start, (STACK[start : start + 1] % 3).astype(np.uint8))
    found = zarr.open_array(tmp_path / "out" / "b.zarr", mode="r")
    np.testing.assert_array_equal(found[...], STACK % 3)
    assert (found.metadata.zarr_format, found.attrs["spacing"]) == (2, [3.0, 1.0, 1.0])
    maps = RNG.random((2, *STACK.shape)).astype(np.float32)
    written = write_like(tmp_path / "maps", maps, open_volume(save_ome(tmp_path / "scan.zarr", STACK, "zyx")))
    np.testing.assert_array_equal(open_volume(written, channel=1).array[...], maps[1])


def test_a_folder_of_stores_is_a_data_set_with_the_labels_inside_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = save_ome(tmp_path / f"{name}.zarr", STACK, "zyx")
        (path / "labels").mkdir()
        (path / "labels" / ".zgroup").write_text('{"zarr_format": 2}')
        (path / "labels" / ".zattrs").write_text('{"labels": ["cells"]}')
        save_ome(path / "labels" / "cells", (STACK % 2).astype(np.uint8), "zyx")
    data = open_dataset(tmp_path)
    assert [case.id for case in data.cases] == ["a", "b"]
    label = data.cases[0].label
    assert label is not None
    np.testing.assert_array_equal(label.array[...], STACK % 2)
    assert data.class_names == ["background", "foreground"]


def test_pairs_of_stores_are_known_by_their_names(tmp_path: Path) -> None:
    for name, array in {"a": STACK, "a_mask": (STACK % 2).astype(np.uint8)}.items():
        zarr.create_array(tmp_path / f"{name}.zarr", data=array)
    (case,) = open_dataset(tmp_path).cases
    assert (case.id, case.label is not None) == ("a", True)
    assert (format_of(tmp_path / "a.ome.zarr"), name_of(tmp_path / "a.ome.zarr")) == ("zarr", "a")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "s0" / ".zarray").unlink(), "s0: is no Zarr array or group, or damaged"),
        (lambda path: (path / ".zattrs").write_text("{"), "cannot be read as Zarr"),
        (lambda path: (path / ".zattrs").write_text('{"plate": {}}'), "is a plate of many images"),
        (lambda path: (path / ".zattrs").write_text('{"multiscales": [{}]}'), "cannot be read as Zarr"),
    ],
)
def test_damaged_stores_are_told_in_one_line(tmp_path: Path, spoil, message: str) -> None:
    path = save_ome(tmp_path / "scan.zarr", STACK, "zyx")
    spoil(path)
    with pytest.raises(DataError, match=message) as error:
        open_volume(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_the_hash_of_a_case_follows_its_voxels(tmp_path: Path) -> None:
    save_ome(tmp_path / "a.zarr", STACK, "zyx")
    before, again = (data_hashes(open_dataset(tmp_path, with_labels=False).cases) for _ in range(2))
    zarr.open_array(tmp_path / "a.zarr" / "s0", mode="r+")[0, 0, 0] = 201
    assert before == again != data_hashes(open_dataset(tmp_path, with_labels=False).cases)


def test_more_than_the_budget_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than the budget"):
        open_volume(save_ome(tmp_path / "scan.zarr", STACK, "zyx"), max_bytes=100)


def test_without_the_package_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_ome(tmp_path / "scan.zarr", STACK, "zyx")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ConfigError, match=r"pip install 'recurseg\[zarr\]'"):
        open_volume(path)
