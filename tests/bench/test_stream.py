"""A long volume is streamed beside a short one, each by a process of its own."""

import sys

import numpy as np
import pytest

from recurseg.bench import stream
from recurseg.data.formats import open_volume
from recurseg.inference import strategies, streaming


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_both_ratios_come_from_the_same_runs():
    memory = stream.stream_memory(32, (4, 12), 1).samples
    begun = stream.measured.cache_info().misses
    seconds = stream.stream_time(32, (4, 12), 1).samples
    assert stream.measured.cache_info().misses == begun
    assert len(memory) == len(seconds) == 1
    assert 0.9 < memory[0] < 1.1
    assert seconds[0] > 0


def test_labels_of_every_slice_are_written(tmp_path):
    stream.write_volume(tmp_path, 11, 32)
    image = open_volume(tmp_path / "case" / "T1.nii")
    assert image.shape == (32, 32, 11)
    assert image.slice_axis == 2
    values = image.array[...]
    assert abs(values.mean()) < 10
    assert 240 < values.std() < 270
    stream.predict_volume(tmp_path)
    (path,) = (tmp_path / "labels").glob("*.nii")
    labels = np.asarray(open_volume(path).array[...])
    assert labels.shape == image.shape
    assert all(len(np.unique(plane)) > 1 for plane in np.moveaxis(labels, 2, 0))


def test_the_volume_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        strategies, "stream", lambda *given, **named: calls.append(1) or streaming.stream(*given, **named)
    )
    calls = []
    stream.write_volume(tmp_path, 3, 32)
    stream.predict_volume(tmp_path)
    assert calls
