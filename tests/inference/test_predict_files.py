"""Many files: right names, values and geometry, nothing lost by a bad one, and a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from recurseg.cli.main import main
from recurseg.errors import ConfigError, DataError, RecursegError, ResourceError
from recurseg.inference import Segmenter, load, package_hash, predict, predict_files

MakePackage = Callable[..., Path]
AT_100 = {"at": 100.0}


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def pixels(seed: int, shape: tuple[int, int] = (12, 9)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, size=shape)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture
def segmenter(make_package: MakePackage) -> Segmenter:
    """Above 100 is class 1; files say 255 for class 0 and 7 for class 1."""
    return load(make_package(options=AT_100, label_map={255: 0, 7: 1}), device="cpu")


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [png(tmp_path / "in" / f"{name}.png", pixels(seed)) for seed, name in enumerate(["cat", "dog", "eel"])]


def test_labels_carry_the_values_of_the_training_data(
    segmenter: Segmenter, images: list[Path], tmp_path: Path
) -> None:
    done = predict_files(segmenter, images, tmp_path / "out", quiet=True)
    assert sorted(done.written) == ["cat", "dog", "eel"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "dog.png"), np.where(pixels(1) > 100, 7, 255))
    index = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert index["label_map"] == {"255": 0, "7": 1}
    assert index["class_names"] == ["background", "cell"]
    assert segmenter.package is not None
    assert index["package"] == package_hash(segmenter.package)
    assert index["cases"]["dog"]["label"] == "dog.png"
    assert index["cases"]["dog"]["source"] == str(images[1])
    assert index["pending"] == []
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cat.png",
        "dog.png",
        "eel.png",
        "predictions.json",
    ]


def test_a_folder_of_numbered_sections_becomes_a_folder_of_the_same_names(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    for number in range(3, 6):
        png(tmp_path / "stack" / "image" / f"{number:02d}.png", pixels(number))
    predict_files(segmenter, [tmp_path / "stack" / "image"], tmp_path / "out", quiet=True)
    assert sorted(p.name for p in (tmp_path / "out" / "image").iterdir()) == ["03.png", "04.png", "05.png"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "image" / "04.png"), np.where(pixels(4) > 100, 7, 255))


def test_nifti_labels_have_the_geometry_of_their_image(segmenter: Segmenter, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 200, size=(5, 6, 4)).astype(np.int16)
    affine = np.array([[0, 0, -3.0, 10], [-1.2, 0, 0, 20], [0, 0.9, 0, -30], [0, 0, 0, 1]])
    path = tmp_path / "in" / "head.nii.gz"
    path.parent.mkdir()
    nib.Nifti1Image(data, affine).to_filename(path)
    predict_files(segmenter, [path], tmp_path / "out", probabilities=True, quiet=True)
    label = nib.load(tmp_path / "out" / "head.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj), np.where(data > 100, 7, 255))  # pyright: ignore
    np.testing.assert_allclose(label.affine, affine)  # pyright: ignore[reportAttributeAccessIssue]
    maps = nib.load(tmp_path / "out" / "probabilities" / "head_class1.nii.gz")
    np.testing.assert_allclose(maps.affine, affine)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(maps.get_fdata() > 0.5, data > 100)  # pyright: ignore[reportAttributeAccessIssue]


def test_probability_maps_are_named_in_the_index(segmenter: Segmenter, images: list[Path], tmp_path: Path) -> None:
    predict_files(segmenter, images[:1], tmp_path / "out", probabilities=True, quiet=True)
    entry = json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"]["cat"]
    assert entry["maps"] == {"cell": entry["probabilities"]}
    found = tifffile.imread(tmp_path / "out" / entry["probabilities"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 1 / (1 + np.exp(100.0 - pixels(0))), atol=1e-6)


def test_a_data_set_of_several_modalities_is_predicted_whole_or_by_case(
    make_package: MakePackage, tmp_path: Path
) -> None:
    for case in ("p1", "p2"):
        folder = tmp_path / "data" / case
        folder.mkdir(parents=True)
        for modality in ("T1", "FLAIR", "seg"):
            data = np.random.default_rng(len(modality)).integers(0, 2, size=(5, 6, 4)).astype(np.uint8)
            nib.Nifti1Image(data * 150, np.eye(4)).to_filename(folder / f"{case}_{modality}.nii.gz")
    package = make_package(options=AT_100, in_channels=2, modalities=["T1", "FLAIR"])
    assert sorted(predict(package, tmp_path / "data", out=tmp_path / "all", quiet=True).written) == ["p1", "p2"]
    assert sorted(predict(package, str(tmp_path / "data" / "p2"), out=tmp_path / "one", quiet=True).written) == ["p2"]
    found = np.asarray(nib.load(tmp_path / "one" / "p2.nii.gz").dataobj)  # pyright: ignore
    expected = np.asarray(nib.load(tmp_path / "data" / "p2" / "p2_T1.nii.gz").dataobj) > 100  # pyright: ignore
    np.testing.assert_array_equal(found, expected)


def test_a_bad_input_is_named_at_the_end_and_the_others_are_done(
    segmenter: Segmenter, images: list[Path], tmp_path: Path
) -> None:
    images[0].write_bytes(images[0].read_bytes()[:60])
    holes = tmp_path / "holes.tif"
    tifffile.imwrite(holes, np.full((12, 9), np.nan, np.float32))
    inputs = [*images, holes, tmp_path / "absent.png"]
    with pytest.raises(DataError, match=r"3 of 5 inputs.*the others are in") as caught:
        predict_files(segmenter, inputs, tmp_path / "out", quiet=True)
    for name in ("cat", "absent.png", "holes", "108 NaN"):
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out" / "dog.png").exists()
    assert (tmp_path / "out" / "eel.png").exists()
    assert not (tmp_path / "out" / "cat.png").exists()
    index = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert sorted(index["cases"]) == ["dog", "eel"]
    assert len(index["failed"]) == 3


def test_a_killed_run_goes_on_and_only_what_changed_is_predicted_again(
    segmenter: Segmenter, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    seen: list[str] = []
    honest = Segmenter.predict

    def killed_at_third(self: Segmenter, case, **options):
        seen.append(case.id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return honest(self, case, **options)

    monkeypatch.setattr(Segmenter, "predict", killed_at_third)
    with pytest.raises(KeyboardInterrupt):
        predict_files(segmenter, images, out, quiet=True)
    assert json.loads((out / "predictions.json").read_text())["pending"] == ["eel"]

    done = predict_files(segmenter, images, out, quiet=True)
    assert (sorted(done.skipped), sorted(done.written)) == (["cat", "dog"], ["eel"])
    png(images[1], pixels(77))
    done = predict_files(segmenter, images, out, quiet=True)
    assert sorted(done.written) == ["dog"]
    np.testing.assert_array_equal(read(out / "dog.png"), np.where(pixels(77) > 100, 7, 255))
    assert sorted(predict_files(segmenter, images, out, keep_largest=True, quiet=True).written) == [
        "cat",
        "dog",
        "eel",
    ]
    (out / "eel.png").unlink()
    assert sorted(predict_files(segmenter, images, out, keep_largest=True, quiet=True).written) == ["eel"]
    again = predict_files(segmenter, images, out, keep_largest=True, probabilities=True, quiet=True)
    assert sorted(again.written) == ["cat", "dog", "eel"]


def test_a_label_written_just_before_the_kill_is_no_stranger(
    segmenter: Segmenter, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recurseg.inference.index import Index

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Index, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_files(segmenter, images, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "cat.png").exists()
    assert len(predict_files(segmenter, images, tmp_path / "out", quiet=True).written) == 3


def test_files_of_others_and_of_other_packages_are_not_replaced_unless_asked(
    segmenter: Segmenter, images: list[Path], make_package: MakePackage, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mine = png(out / "dog.png", np.ones((2, 2)))
    with pytest.raises(ConfigError, match=r"dog.png: is there already"):
        predict_files(segmenter, images, out, quiet=True)
    assert read(mine).shape == (2, 2)
    assert list(out.iterdir()) == [mine]
    assert len(predict_files(segmenter, images, out, overwrite=True, quiet=True).written) == 3
    other = load(make_package("other", options={"at": 20.0}))
    with pytest.raises(ConfigError, match=r"predictions of another package"):
        predict_files(other, images, out, quiet=True)
    assert len(predict_files(other, images, out, overwrite=True, quiet=True).written) == 3
    np.testing.assert_array_equal(read(mine), pixels(1) > 20)


def test_results_never_mix_with_inputs_or_with_each_other(
    segmenter: Segmenter, images: list[Path], tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in images}
    folder = images[0].parent
    for inputs, out in [(images, folder), ([folder], folder), ([folder], folder / "results")]:
        with pytest.raises(ConfigError, match=r"--out"):
            predict_files(segmenter, inputs, out, quiet=True)
    twin = png(tmp_path / "elsewhere" / "cat.png", pixels(5))
    with pytest.raises(ConfigError, match=r"would both be written as 'cat'"):
        predict_files(segmenter, [*images, twin], tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_output_that_cannot_be_written_is_said_before_any_work(
    segmenter: Segmenter, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segmenter, "predict", lambda *_, **__: pytest.fail("worked"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cannot be written"):
        predict_files(segmenter, images, tmp_path / "file" / "out", quiet=True)


def test_memory_that_ends_at_one_input_is_exit_code_4(
    segmenter: Segmenter, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Segmenter.predict

    def too_large(self: Segmenter, case, **options):
        if case.id == "dog":
            raise ResourceError("case dog: not enough memory")
        return honest(self, case, **options)

    monkeypatch.setattr(Segmenter, "predict", too_large)
    with pytest.raises(RecursegError, match=r"1 of 3 inputs") as caught:
        predict_files(segmenter, images, tmp_path / "out", quiet=True)
    assert caught.value.exit_code == 4
    assert (tmp_path / "out" / "eel.png").exists()


def test_the_command_predicts_reports_and_exits_as_documented(
    make_package: MakePackage, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    package, out = str(make_package(options=AT_100)), str(tmp_path / "out")
    command = ["predict", package, *map(str, images), "--out", out]
    assert main([*command, "--save-probabilities", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["written"]) == ["cat", "dog", "eel"]
    assert told["skipped"] == {}
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "3 were there already" in shown.out
    assert "100%" in shown.err
    assert main([*command, "--window", "8;8"]) == 2
    assert "--window" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "absent.png"), "--overwrite", "--window", "8,8", "--flips"]) == 3
    assert "absent.png" in capsys.readouterr().err
