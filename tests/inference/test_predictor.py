"""A loaded model predicts cases, paths and arrays on their own grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage
import torch

from recurseg.data.case import Case, Volume
from recurseg.errors import ConfigError, DataError, ResourceError
from recurseg.inference import Segmenter, load
from recurseg.inference.components import keep_largest_component
from recurseg.preprocess import Preprocessing

MakePackage = Callable[..., Path]


@pytest.mark.parametrize("shape", [(9, 11), (3, 9, 11), (1, 5, 5)])
@pytest.mark.parametrize("dims", [2, 3])
def test_arrays_are_predicted_in_their_own_order(
    make_package: MakePackage, shape: tuple[int, ...], dims: int
) -> None:
    segmenter = load(make_package(options={"spatial_dims": dims}), device="cpu")
    array = np.random.default_rng(0).uniform(size=shape)
    found = segmenter.predict(array, probabilities=True)
    np.testing.assert_array_equal(found.labels, array > 0.5)
    assert found.labels.dtype == np.uint8
    assert found.probabilities is not None
    assert found.probabilities.shape == (2, *shape)
    np.testing.assert_allclose(found.probabilities[1], 1 / (1 + np.exp(0.5 - array)), atol=1e-5)
    assert segmenter.predict(array).probabilities is None


def test_arrays_of_several_modalities_have_them_in_front(make_package: MakePackage) -> None:
    segmenter = load(make_package(in_channels=2, modalities=["T1", "T2"]))
    array = np.random.default_rng(0).uniform(size=(2, 4, 5, 6))
    np.testing.assert_array_equal(segmenter.predict(array).labels, array[0] > 0.5)
    for wrong in [(4, 5, 6), (2, 5), (3, 4, 5, 6)]:
        with pytest.raises(DataError, match=r"the model takes \(2, H, W\) or \(2, D, H, W\)"):
            segmenter.predict(np.zeros(wrong))


def test_a_file_with_flipped_axes_is_predicted_in_its_stored_order(make_package: MakePackage, tmp_path: Path) -> None:
    data = np.random.default_rng(0).uniform(size=(6, 7, 4)).astype(np.float32)
    path = tmp_path / "head.nii.gz"
    nib.Nifti1Image(data, np.diag([-1.0, -1.0, 5.0, 1.0])).to_filename(path)
    found = load(make_package()).predict(path)
    np.testing.assert_array_equal(found.labels, data > 0.5)
    assert found.case.id == "head"


def test_a_run_folder_is_loaded_by_its_package(make_package: MakePackage, tmp_path: Path) -> None:
    assert load(make_package("run/package").parent).package == tmp_path / "run" / "package"


def test_a_model_that_resamples_wants_the_spacing_of_an_array(make_package: MakePackage) -> None:
    segmenter = load(make_package(preprocessing=Preprocessing(normalise="none", spacing=(None, 2, 2))))
    blocks = np.kron(np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones((8, 8)))[None].repeat(3, axis=0)
    with pytest.raises(DataError, match=r"spacing"):
        segmenter.predict(blocks)
    found = segmenter.predict(blocks, spacing=(3, 1, 1)).labels
    assert (found == blocks).mean() > 0.95
    with pytest.raises(DataError, match=r"3 axes"):
        segmenter.predict(blocks, spacing=(1, 1))


def test_one_modality_fits_whatever_its_name_but_several_must_match(make_package: MakePackage) -> None:
    image = Volume(np.ones((4, 5)), (1.0, 1.0), None, Path("x.png"), "image")
    assert load(make_package("a")).predict(Case("c", {"anything": image})).labels.all()
    segmenter = load(make_package("b", in_channels=2, modalities=["T1", "T2"]))
    with pytest.raises(DataError, match=r"case c: no image of modality T2; it has T1, PD"):
        segmenter.predict(Case("c", {"T1": image, "PD": image}))


def test_a_broken_label_beside_the_image_does_not_matter(make_package: MakePackage) -> None:
    image = Volume(np.ones((4, 5)), (1.0, 1.0), None, Path("x.png"), "image")
    label = Volume(np.full((7, 7), -3.5), (1.0, 1.0), None, Path("l.png"), "image")
    assert load(make_package()).predict(Case("c", {"image": image}, label)).labels.all()


def test_flips_and_smaller_windows_do_not_change_a_model_without_context(make_package: MakePackage) -> None:
    array = np.random.default_rng(0).uniform(size=(20, 30))
    segmenter = load(make_package(), window=(8, 8))
    assert segmenter.spec.window == (8, 8)
    np.testing.assert_array_equal(segmenter.predict(array, flips=True).labels, array > 0.5)


def test_only_the_largest_piece_of_each_class_is_kept_corners_touching() -> None:
    generator = np.random.default_rng(0)
    for shape in [(30, 30), (12, 12, 12)]:
        labels = (generator.uniform(size=shape) > 0.8).astype(np.uint8) * generator.integers(1, 3, size=shape)
        labels = labels.astype(np.uint8)
        found = keep_largest_component(labels)
        for index in (1, 2):
            pieces, count = scipy.ndimage.label(labels == index, np.ones((3,) * len(shape)))
            sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
            kept = np.unique(pieces[found == index])
            assert kept.tolist() != [0]
            assert len(kept) == 1
            assert sizes[kept[0] - 1] == sizes.max() == (found == index).sum()
    assert not keep_largest_component(np.zeros((4, 4), np.uint8)).any()


def test_keep_largest_is_an_option_of_predict(make_package: MakePackage) -> None:
    array = np.zeros((10, 10))
    array[1:4, 1:4] = array[8, 8] = 1
    assert load(make_package()).predict(array, keep_largest=True).labels.sum() == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "abacus"}, r"device 'abacus' is unknown"),
        ({"device": "cuda:77"}, r"device 'cuda:77' is not available"),
        ({"precision": "int4"}, r"precision 'int4'"),
        ({"window": (0, 4)}, r"window \(0, 4\)"),
    ],
    ids=str,
)
def test_impossible_options_are_named(make_package: MakePackage, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(make_package(), **options)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: ...")])
def test_too_little_memory_is_said_with_a_way_out(make_package: MakePackage, error: Exception) -> None:
    loaded = load(make_package())

    class Hungry(torch.nn.Module):
        spatial_dims = 2

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise error

    with pytest.raises(ResourceError, match=r"not enough memory for windows of \(16, 16\).*--window"):
        Segmenter(loaded.spec, Hungry(), torch.device("cpu")).predict(np.ones((4, 4)))


def test_a_path_with_several_cases_is_for_the_other_function(make_package: MakePackage, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat.png", "dog.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    package = make_package("p")
    folder = tmp_path / "pets"
    folder.mkdir()
    for name in ("cat.png", "dog.png"):
        (tmp_path / name).rename(folder / name)
    with pytest.raises(ConfigError, match=r"pets: holds 2 cases"):
        load(package).predict(folder)
