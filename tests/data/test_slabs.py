"""Files written slab by slab are the files that `write_like` writes of the whole array."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap

import nibabel as nib
import numpy as np
import pytest

from recurseg.data.formats import open_volume, open_written, write_like
from recurseg.data.formats.slabs import slab_writer
from recurseg.errors import ConfigError, DataError, ResourceError

from .foreign_files import save_nifti
from .test_formats_write import FORMATS, source

RNG = np.random.default_rng(5)


def contents(path):
    """The bytes of a file or of a folder's files, less what is new each time: the time in gzip, the UUID in OME."""
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    if path.suffix == ".gz":
        return nib.load(path).header.binaryblock, np.asarray(nib.load(path).dataobj).tobytes()
    return re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}", b"", path.read_bytes())


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_are_byte_for_byte_those_of_write_like(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    labels = RNG.integers(0, 4, image.shape).astype(np.uint8)
    with slab_writer(tmp_path / "slabs" / "case.1", image, np.uint8) as writer:
        assert not writer.path.exists()
        for start in (3, 0, 6):
            writer.write(start, np.take(labels, range(start, min(start + 3, image.shape[writer.axis])), writer.axis))
    whole = write_like(tmp_path / "whole" / "case.1", labels, image)
    assert writer.path.name == whole.name
    assert contents(writer.path) == contents(whole)
    assert [file.name for file in (tmp_path / "slabs").iterdir()] == [whole.name]


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "mha", "tif", "folder-png", "dicom"])
def test_maps_of_several_classes_go_into_one_file(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    maps = RNG.random((3, *image.shape)).astype(np.float32)
    with slab_writer(tmp_path / "slabs" / "case", image, np.float32, 3) as writer:
        for section in range(image.shape[1]):
            writer.write(section, maps[:, :, section : section + 1], axis=1)
    assert contents(writer.path) == contents(write_like(tmp_path / "whole" / "case", maps, image))


def test_nifti_bytes_are_those_of_nibabel(tmp_path):
    image = open_volume(save_nifti(tmp_path / "a.nii", RNG.integers(0, 9, (6, 7, 8)).astype(np.int16)))
    labels = RNG.integers(0, 4, image.shape).astype(np.uint8)
    header = nib.load(image.path).header.copy()
    header.set_data_dtype(np.uint8)
    nib.Nifti1Image(labels, None, header).to_filename(tmp_path / "b.nii")
    assert contents(write_like(tmp_path / "c", labels, image)) == contents(tmp_path / "b.nii")


def test_classes_become_the_values_of_the_data_set_and_what_is_not_written_is_class_0(tmp_path):
    image = open_volume(source(tmp_path, "nii"))
    with slab_writer(tmp_path / "out" / "case", image, np.uint8, values=np.array([7, 300], np.uint16)) as writer:
        writer.write(2, np.ones((6, 7, 1), np.uint8))
    found = open_volume(writer.path).array[...]
    assert (found[..., 2] == 300).all()
    assert (np.delete(found, 2, axis=2) == 7).all()


def test_an_error_leaves_neither_file_nor_hidden_file(tmp_path):
    image = open_volume(source(tmp_path, "nii"))

    def failing():
        with slab_writer(tmp_path / "out" / "case", image, np.uint8, mark="a") as writer:
            writer.write(0, np.ones((6, 7, 1), np.uint8))
            writer.note(1)
            raise DataError("bad voxels")

    with pytest.raises(DataError):
        failing()
    assert not list((tmp_path / "out").iterdir())


def test_a_killed_run_is_continued_where_it_noted_and_only_under_its_own_mark(tmp_path):
    path = source(tmp_path, "tif")
    script = f"""
        import os, signal, numpy as np
        from pathlib import Path
        from recurseg.data.formats import open_volume
        from recurseg.data.formats.slabs import slab_writer
        image = open_volume({str(path)!r})
        with slab_writer(Path({str(tmp_path / "out" / "case")!r}), image, np.uint8, mark="a") as writer:
            writer.write(0, np.full((4, 7, 8), 3, np.uint8))
            writer.note(4)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert all(name.startswith(".") for name in os.listdir(tmp_path / "out"))
    image = open_volume(path)
    with slab_writer(tmp_path / "out" / "case", image, np.uint8, mark="a") as writer:
        assert writer.resumed == 4
        assert (writer.array[:4] == 3).all()
        writer.write(4, np.full((2, 7, 8), 1, np.uint8))
    assert open_written(writer.path).array[...][:, 0, 0].tolist() == [3, 3, 3, 3, 1, 1]
    with slab_writer(tmp_path / "out" / "case", image, np.uint8, mark="b") as writer:
        assert writer.resumed == 0


def test_a_source_is_never_replaced_and_a_full_disk_is_told_beforehand(tmp_path, monkeypatch):
    image = open_volume(source(tmp_path, "nii"))
    with pytest.raises(ConfigError, match="replace its own source"), slab_writer(tmp_path / "image", image, np.uint8):
        pass
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with (
        pytest.raises(ResourceError, match="336 B for a file that is being written, 10 B are free"),
        slab_writer(tmp_path / "out" / "case", image, np.uint8),
    ):
        pass
