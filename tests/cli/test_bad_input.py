"""Every mistake in the data that a user can make ends in one line, the documented code, and nothing half-written."""

import gzip

import nibabel
import numpy as np
import pytest
import yaml

from recurseg.cli.main import main

SHAPE = (12, 14, 6)
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def write(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def image(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def label(shape=SHAPE):
    array = np.zeros(shape, np.uint8)
    array[3:7, 3:7, 2:4] = 1
    return array


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    for n, name in enumerate("abc"):
        write(root / "images" / f"{name}.nii.gz", image(n))
        write(root / "labels" / f"{name}.nii.gz", label())
    return root


def patched_header(path, offset, value):
    """Changes bytes of a NIfTI header inside its gzip."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[offset : offset + len(value)] = value
    path.write_bytes(gzip.compress(bytes(content)))


def other_grid(root):
    write(root / "labels" / "b.nii.gz", label()[:, :, :5])


def other_affine(root):
    write(root / "labels" / "b.nii.gz", label(), AFFINE + np.eye(4, k=3) * 40)


def no_foreground(root):
    for name in "abc":
        write(root / "labels" / f"{name}.nii.gz", np.zeros(SHAPE, np.uint8))


def unknown_class(root):
    changed = label()
    changed[0, 0, 0] = 7
    write(root / "labels" / "b.nii.gz", changed)
    cases = [
        {"id": name, "images": {"T1": f"images/{name}.nii.gz"}, "label": f"labels/{name}.nii.gz"} for name in "abc"
    ]
    content = {"schema_version": 1, "name": "x", "modalities": ["T1"], "classes": {0: "background", 1: "ball"}}
    (root / "dataset.yaml").write_text(yaml.safe_dump(content | {"cases": cases}))


def not_a_number(root):
    changed = image()
    changed[1, 2, 3] = np.nan
    write(root / "images" / "b.nii.gz", changed)


def infinite(root):
    changed = image()
    changed[1, 2, 3] = np.inf
    write(root / "images" / "b.nii.gz", changed)


def truncated(root):
    path = root / "images" / "b.nii.gz"
    path.write_bytes(path.read_bytes()[:-400])


def claims_too_much(root):
    for folder in ("images", "labels"):
        patched_header(root / folder / "b.nii.gz", 42, np.array([32000, 32000, 32000], "<i2").tobytes())


def four_dimensions(root):
    write(root / "images" / "b.nii.gz", image(shape=(*SHAPE, 3)))


def zero_affine(root):
    path = root / "images" / "b.nii.gz"
    patched_header(path, 280, np.zeros(12, "<f4").tobytes())


def sheared(root):
    affine = AFFINE.copy()
    affine[0, 1] = 0.5
    for folder, array in (("images", image()), ("labels", label())):
        write(root / folder / "b.nii.gz", array, affine)


def image_without_label(root):
    (root / "labels" / "b.nii.gz").unlink()


def one_id_twice(root):
    write(root / "images" / "b.nii", image())
    write(root / "labels" / "b.nii", label())


def empty(root):
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def absent(root):
    empty(root)
    root.rmdir()


BREAKS = [
    (other_grid, "b"),
    (other_affine, "b"),
    (no_foreground, "foreground"),
    (unknown_class, "7"),
    (not_a_number, "b"),
    (infinite, "b"),
    (truncated, "b.nii.gz"),
    (claims_too_much, "b.nii.gz"),
    (four_dimensions, "b.nii.gz"),
    (zero_affine, "b.nii.gz"),
    (sheared, "b.nii.gz"),
    (image_without_label, "b"),
    (one_id_twice, "b"),
    (empty, "data"),
    (absent, "data"),
]


@pytest.mark.parametrize(("spoil", "named"), BREAKS, ids=[spoil.__name__ for spoil, _ in BREAKS])
def test_training_on_bad_data_ends_in_one_line(data, tmp_path, capfd, spoil, named):
    spoil(data)
    out = tmp_path / "run"
    assert main(["train", str(data), "--model", "light_unet", "--steps", "1", "--out", str(out)]) == 3
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert named in lines[0]
    assert "Traceback" not in lines[0]
    assert not out.exists()


def test_an_output_that_cannot_be_written_is_found_before_any_work(data, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["train", str(data), "--steps", "1", "--out", str(tmp_path / "file" / "run")]) == 4
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--minuts", "3"], "--minutes"),
        (["--model", "pyramid"], "pyramid_lstm"),
        (["--holdout", "d"], "no such case"),
        (["--set", "optimizer.rl=1"], "optimizer.rl"),
        (["--set", "model.options.width=3"], "widths"),
        (["--steps", "0"], "greater than 0"),
        (["--steps", "1", "--minutes", "1"], "exclude each other"),
        (["--device", "cuda:7"], "cuda:7"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_ends_in_one_line_with_code_2(data, tmp_path, capsys, words, said):
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error
    assert not (tmp_path / "run").exists()
