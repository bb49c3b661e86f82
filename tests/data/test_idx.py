"""IDX files and the MNIST layout: what others write is read, what is damaged is refused in one line."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset
from recurseg.data.formats import open_volume, stem_of, suffix_of, write_like
from recurseg.data.formats.idx import read_labels
from recurseg.data.layouts.mnist import labels_of
from recurseg.data.manifest import DatasetManifest, read_manifest, save_manifest, write_manifest
from recurseg.data.mend import mend_dataset
from recurseg.data.splits import split_cases
from recurseg.errors import DataError

SECTIONS = {"one": (0, 9), "other": (10, 23)}
DIGITS = np.random.default_rng(0).integers(0, 256, (24, 28, 28)).astype(np.uint8)


def idx(array: np.ndarray, *, code: int = 8, claims: tuple[int, ...] | None = None) -> bytes:
    """The bytes of an IDX file as http://yann.lecun.com/exdb/mnist describes them."""
    shape = claims or array.shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + array.tobytes()


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def published(root: Path, suffix: str = ".gz", digits: np.ndarray = DIGITS) -> Path:
    """The four files of MNIST, smaller."""
    for part, array in (("train", digits), ("t10k", digits[:5])):
        save(root / f"{part}-images-idx3-ubyte{suffix}", idx(array))
        save(root / f"{part}-labels-idx1-ubyte{suffix}", idx(np.arange(len(array), dtype=np.uint8) % 10))
    return root


@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz", "a.idx3-ubyte", "A-IDX3-UBYTE.gz"])
def test_a_stack_is_read_lazily_section_by_section(tmp_path, name):
    volume = open_volume(save(tmp_path / name, idx(DIGITS)))
    assert (volume.shape, volume.slice_axis, volume.format, volume.spacing_known) == ((24, 28, 28), 0, "idx", False)
    np.testing.assert_array_equal(volume.array[3:5, ::2], DIGITS[3:5, ::2])
    np.testing.assert_array_equal(volume.array[...], DIGITS)
    assert stem_of(tmp_path / name).lower() == "a"


def test_a_suffix_ends_where_the_name_says_idx():
    assert suffix_of("train-images-idx3-ubyte.gz") == "-idx3-ubyte.gz"


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "begins with nothing"),
        (b"\x00\x00\x08", "begins with 00 00 08"),
        (idx(DIGITS[0]), r"with 3 axes \(it begins with 00 00 08 02"),
        (idx(DIGITS, code=13), "begins with 00 00 0d 03"),
        (idx(DIGITS)[:9], "9 of 16 bytes of its header"),
        (idx(DIGITS)[:-1], "truncated"),
        (idx(DIGITS) + b"x", "damaged"),
        (idx(DIGITS, claims=(0, 28, 28)), "claims an empty image"),
        (idx(DIGITS, claims=(2**32 - 1, 28, 28)), "more than the budget"),
        (idx(DIGITS, claims=(1, 1, 18816)), "where a 2-D or 3-D image is meant|read as"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_stack_is_refused_in_one_line(tmp_path, packed, content, said):
    path = save(tmp_path / f"a-idx3-ubyte{packed}", content)
    if said.endswith("read as"):
        assert open_volume(path).shape == (1, 18816)
        return
    with pytest.raises(DataError, match=said) as error:
        open_volume(path, max_bytes=10**9).array[...]
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "a-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(DIGITS))[:-50])
    with pytest.raises(DataError, match="truncated or damaged"):
        open_volume(path).array[...]


def test_labels_are_a_plain_vector(tmp_path):
    path = save(tmp_path / "a-labels-idx1-ubyte.gz", idx(np.array([5, 0, 4], np.uint8)))
    assert read_labels(path).tolist() == [5, 0, 4]
    with pytest.raises(DataError, match="with 1 axis"):
        read_labels(save(path, idx(DIGITS)))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_is_recognised_with_the_papers_split(tmp_path, suffix):
    dataset = open_dataset(published(tmp_path, suffix))
    assert dataset.manifest.layout == "mnist"
    assert {case.id: case.shape[0] for case in dataset.cases} == {"train": 22, "validation": 2, "test": 5}
    np.testing.assert_array_equal(dataset.cases[1].reference.array[...], DIGITS[22:])
    for holdout in (None, "validation"):
        split = split_cases(dataset, holdout, labelled=False)
        assert [[case.id for case in side] for side in (split.train, split.validation)] == [["train"], ["validation"]]
    assert labels_of(dataset.cases[0].reference.path) == tmp_path / f"train-labels-idx1-ubyte{suffix}"


def test_mnist_is_checked_as_images_without_labels(tmp_path):
    report = check_dataset(published(tmp_path))
    assert report.problems == []
    assert "no segmentation labels: for image completion only" in report.notes


def test_a_manifest_keeps_which_sections_are_a_case(tmp_path):
    dataset = open_dataset(published(tmp_path))
    save_manifest(dataset.manifest, dataset.root, tmp_path / "dataset.yaml")
    assert read_manifest(tmp_path / "dataset.yaml").cases[1].sections == (22, 23)
    assert open_dataset(tmp_path).cases[1].shape == (2, 28, 28)
    text = (tmp_path / "dataset.yaml").read_text().replace("- 23", "- 24")
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=r"case validation: .* has sections 0-23, not 22-24"):
        open_dataset(tmp_path)


def test_mended_labels_keep_which_sections_are_a_case(tmp_path):
    for name, array in (("image", DIGITS), ("label", (DIGITS > 99) * np.uint8(255))):
        (tmp_path / "data").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "data" / f"{name}.tif", array, photometric="minisblack")
    cases = [
        {"id": n, "images": {"a": "image.tif"}, "label": "label.tif", "sections": s} for n, s in SECTIONS.items()
    ]
    manifest = DatasetManifest.model_validate({"name": "d", "modalities": ["a"], "cases": cases})
    write_manifest(manifest, tmp_path / "data" / "dataset.yaml")
    mended = mend_dataset(tmp_path / "data", tmp_path / "out")
    assert mended.left == []
    for case, (first, last) in zip(open_dataset(tmp_path / "out").cases, SECTIONS.values(), strict=True):
        assert case.label is not None
        np.testing.assert_array_equal(case.label.array[...], DIGITS[first : last + 1] > 99)


def test_what_comes_from_idx_is_written_as_tiff(tmp_path):
    volume = open_volume(save(tmp_path / "a-idx3-ubyte.gz", idx(DIGITS)))
    path = write_like(tmp_path / "out", DIGITS, volume)
    assert path.name == "out.tif"
    np.testing.assert_array_equal(tifffile.imread(path), DIGITS)


@pytest.mark.skipif("RECURSEG_DATA" not in os.environ, reason="RECURSEG_DATA is not set")
def test_the_published_files_are_mnist():
    root = Path(os.environ["RECURSEG_DATA"]) / "mnist"
    if not root.is_dir():
        pytest.skip("no folder mnist in RECURSEG_DATA")
    dataset = open_dataset(root)
    assert [case.shape for case in dataset.cases] == [(55000, 28, 28), (5000, 28, 28), (10000, 28, 28)]
    labels = labels_of(dataset.cases[2].reference.path)
    assert labels is not None
    # the class counts of the test set that every description of MNIST lists
    assert np.bincount(read_labels(labels)).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
