"""Slab after slab: all sequence models, missing modalities, cines of several slices, kills, and memory."""

from __future__ import annotations

import collections
import shutil
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from recurseg.errors import ConfigError, DataError, ResourceError
from recurseg.inference import streaming
from recurseg.inference.cine import predict_cine
from recurseg.inference.streaming import stream
from recurseg.models import create_model

SEQUENCES = ("convlstm", "seq2seq", "bidirectional", "off")


def build(name="cross_modality", **options):
    torch.manual_seed(0)
    small = {"filters": (4, 6)} if name == "gamma_net" else {"widths": (4, 6)}
    return create_model(name, in_channels=2, num_classes=3, **small | options).eval()


def noise(*size):
    return np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)


def whole(model, image, **settings):
    with torch.no_grad():
        return model(torch.from_numpy(image)[None], **settings)[0].softmax(dim=0).numpy()


def joined(slabs):
    return np.concatenate([probabilities for _, probabilities in slabs], axis=1)


@pytest.mark.parametrize("length", [1, 2, 3, 10, 11])
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_any_length_in_any_slabs_is_as_it_is_whole(sequence, length):
    model, image = build(sequence=sequence), noise(length, 5, 8)
    for slab in (1, 2, 4, 20):
        np.testing.assert_allclose(joined(stream(model, image, slab=slab)), whole(model, image), atol=5e-6)


@pytest.mark.parametrize("sequence", ["convlstm", "bidirectional"])
def test_a_missing_modality_is_missing_in_every_slab(sequence):
    model, image, present = build(sequence=sequence), noise(5, 6, 8), np.array([True, False])
    expected = whole(model, image, present=torch.tensor([[True, False]]))
    image[1] = 1e3
    np.testing.assert_allclose(joined(stream(model, image, slab=2, present=present)), expected, atol=5e-6)


def test_frames_of_several_slices_are_as_when_each_slice_is_a_cine_of_its_own():
    model, image = build("gamma_net"), noise(5, 3, 8, 6)  # C, T, D, H, W
    expected = np.stack([whole(model, image[:, :, position]) for position in range(3)], axis=2)
    found = joined(stream(model, image, slab=2, frames=True))
    np.testing.assert_allclose(found, expected, atol=5e-6)
    at_once = predict_cine(model, image, frames="stream", window=(9, 8, 6))
    np.testing.assert_allclose(found, at_once, atol=5e-6)


def test_one_logit_and_half_precision_give_float32_of_two_classes():
    torch.manual_seed(0)
    model = create_model("encoder_decoder", in_channels=2, num_classes=1, widths=(4,), sequence="convlstm").eval()
    image = noise(3, 6, 6)
    (_, found), full = next(stream(model, image, precision="bf16")), joined(stream(model, image))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(found, full, atol=0.05)


def test_reads_a_slab_at_a_time_and_says_how_far_it_is():
    read, done, image = [], [], noise(7, 4, 4)

    class Lazy:
        shape, dtype = image.shape, image.dtype

        def __getitem__(self, index):
            part = image[index]
            read.append(part.shape[1])
            return part

    for number, _ in enumerate(stream(build(), Lazy(), slab=3, progress=done.append)):
        assert len(read) == number + 1
    assert read == [3, 3, 1]
    assert done == pytest.approx([3 / 7, 6 / 7, 1])
    done.clear()
    list(stream(build(sequence="bidirectional"), Lazy(), slab=3, progress=done.append))
    assert done == sorted(done)
    assert done[-1] == 1


def test_the_model_is_left_in_the_mode_in_which_it_came():
    model = build().train()
    for _ in stream(model, noise(3, 4, 4), slab=1):
        assert not model.training
        break
    assert model.training


def test_nan_is_an_error():
    with pytest.raises(ConfigError, match="gives NaN in float32"):
        list(stream(build(), np.full((2, 2, 4, 4), np.nan, np.float32)))


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from test_streaming import build, noise, stream

name, options, frames, folder = sys.argv[1], eval(sys.argv[2]), sys.argv[3] == "True", Path(sys.argv[4])
for start, found in stream(build(name, **options), noise(11, 5, 8), slab=2, frames=frames, folder=folder):
    np.save(folder / f"{start}.npy", found)
    if start >= 6:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("name", "options", "frames"),
    [
        ("cross_modality", {"sequence": "convlstm"}, False),
        ("cross_modality", {"sequence": "seq2seq"}, False),
        ("k_unet", {"hidden": 3}, False),
        ("gamma_net", {}, True),
    ],
    ids=["ConvLSTM", "groups", "both ways", "frames"],
)
def test_goes_on_after_a_kill_as_if_there_had_been_none(tmp_path, request, name, options, frames):
    command = [sys.executable, "-c", KILLED, name, repr(options), str(frames), str(tmp_path)]
    assert subprocess.run(command, cwd=request.path.parent, check=False).returncode == -signal.SIGKILL
    step = 3 if options.get("sequence") == "seq2seq" else 2
    model, image, reads = build(name, **options), noise(11, 5, 8), collections.Counter()
    model.register_forward_hook(lambda *_: reads.update(["forward"]))
    for start, found in stream(model, image, slab=2, frames=frames, folder=tmp_path):
        assert start >= 6  # that one was written, but no next one asked for
        np.save(tmp_path / f"{start}.npy", found)
    assert reads["forward"] == len(range(6, 11, step))
    found = np.concatenate([np.load(tmp_path / f"{start}.npy") for start in range(0, 11, step)], axis=1)
    np.testing.assert_allclose(found, whole(model, image), atol=5e-6)
    assert not list(stream(model, image, slab=2, frames=frames, folder=tmp_path))


def test_what_was_read_from_behind_is_not_read_again(tmp_path, monkeypatch):
    model, image, calls = build(sequence="bidirectional"), noise(9, 5, 8), []
    behind: Any = model.behind

    def counted(part, *given, **named):
        calls.append(part.shape[2])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return behind(part, *given, **named)

    monkeypatch.setattr(model, "behind", counted)
    with pytest.raises(KeyboardInterrupt):
        list(stream(model, image, slab=2, folder=tmp_path))
    found = joined(stream(model, image, slab=2, folder=tmp_path))
    assert calls == [1, 2, 2, 2, 2]  # slabs at 8 and 6, the one at 4 in vain; then those at 4 and 2
    np.testing.assert_allclose(found, whole(model, image), atol=5e-6)


@pytest.mark.parametrize(
    ("settings", "first"),
    [({}, 4), ({"slab": 3}, 4), ({"written": 4}, 4), ({"written": 3}, 0), ({"about": "another"}, 0)],
    ids=str,
)
@pytest.mark.parametrize("sequence", ["convlstm", "bidirectional"])
def test_begins_anew_where_what_is_stored_does_not_fit(tmp_path, sequence, settings, first):
    model, image = build(sequence=sequence), noise(9, 5, 8)
    first = 0 if sequence == "bidirectional" and "slab" in settings else first
    for start, _ in stream(model, image, slab=2, folder=tmp_path):
        if start == 4:
            break
    slabs = list(stream(model, image, **{"slab": 2, "folder": tmp_path} | settings))
    assert slabs[0][0] == first
    np.testing.assert_allclose(joined(slabs), whole(model, image)[:, first:], atol=5e-6)


def test_a_damaged_state_is_named(tmp_path):
    next(slabs := stream(build(), noise(4, 5, 8), slab=2, folder=tmp_path))
    next(slabs)
    (tmp_path / streaming.STATE).write_bytes(b"damaged")
    with pytest.raises(DataError, match="no state to go on from"):
        next(stream(build(), noise(4, 5, 8), slab=2, folder=tmp_path))


def test_a_disk_too_small_for_what_lies_behind_is_said_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 9))
    with pytest.raises(ResourceError, match=r"GB are to follow .*: choose another folder or thicker slabs"):
        next(stream(build(sequence="bidirectional"), noise(9, 5, 8), slab=1, folder=tmp_path))


PEAK = """
import sys
from typing import Any
import numpy as np
import torch
from recurseg.data.case import Deferred
from recurseg.training.memory import PeakMemory
from test_streaming import build, stream

def read(index):
    return np.ones((2, len(range(length)[index[1]]), 96, 96), np.float32)

for length in (32, int(sys.argv[2])):
    image = Deferred((2, length, 96, 96), np.dtype(np.float32), read)
    peak = PeakMemory(torch.device("cpu"))
    for _ in stream(build(sequence=sys.argv[1]), image, slab=8):
        pass
    print(peak.mib())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
@pytest.mark.parametrize("sequence", ["convlstm", "bidirectional"])
def test_memory_does_not_grow_with_the_number_of_slices(request, sequence):
    command = [sys.executable, "-c", PEAK, sequence, "160"]
    done = subprocess.run(command, cwd=request.path.parent, check=True, capture_output=True, text=True)
    few, many = (int(line) for line in done.stdout.split())
    assert many < few + 10  # MiB; 128 slices more have 22 MiB of images and probabilities
