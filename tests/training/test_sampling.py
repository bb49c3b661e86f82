import numpy as np
import pytest
import torch

from recurseg.data.case import IGNORE
from recurseg.training.recipe import SamplingConfig, Stage
from recurseg.training.sampling import Arrays, Windows, batches

EVERYTHING = SamplingConfig(
    foreground=0.5,
    flip=["D", "H", "W"],
    right_angles=True,
    rotate=15,
    scale=0.2,
    brightness=0.1,
    contrast=0.1,
    noise=0.1,
)


def cases(shape=(6, 20, 22), channels=2):
    random = np.random.default_rng(0)
    label = np.zeros(shape, np.int64)
    label[2:4, 5:8, 5:8] = 1
    label[1, 0, 0] = 2
    return [Arrays(random.normal(size=(channels, *shape)).astype(np.float32), label) for _ in range(2)]


@pytest.mark.parametrize("window", [(4, 8, 8), (6, 20, 20), (9, 30, 30), (1, 8, 8)], ids=str)
def test_windows_have_the_size_asked_for(window):
    image, label, present = Windows(cases(), window, EVERYTHING, seed=0)[3]
    assert present.tolist() == [True, True]
    assert image.shape == (2, *window)
    assert label.shape == window
    assert (image.dtype, label.dtype) == (torch.float32, torch.int64)


def test_sample_n_depends_on_seed_and_n_only():
    one, two = (Windows(cases(), (4, 8, 8), EVERYTHING, seed=7) for _ in range(2))
    for n in (5, 0, 3):
        torch.testing.assert_close(one[n], two[n], rtol=0, atol=0)
    assert not torch.equal(one[0][0], one[1][0])
    assert not torch.equal(one[0][0], Windows(cases(), (4, 8, 8), EVERYTHING, seed=8)[0][0])


def test_samples_are_the_same_whatever_the_number_of_workers():
    windows, stage = Windows(cases(), (4, 8, 8), EVERYTHING, seed=0), Stage(steps=3, window=(4, 8, 8), batch=2)
    alone, helped = (list(batches(windows, stage, 1, 4, workers)) for workers in (0, 2))
    torch.testing.assert_close(alone, helped, rtol=0, atol=0)
    assert len(alone) == 2


def test_all_foreground_means_a_foreground_voxel_in_every_window_and_every_class_as_often():
    config = SamplingConfig(foreground=1.0)
    windows = Windows(cases(), (4, 8, 8), config, seed=0)
    found = [set(windows[n][1].unique().tolist()) for n in range(60)]
    assert all(classes & {1, 2} for classes in found)
    assert sum(2 in classes for classes in found) >= 15  # one voxel of 2 against eighteen of 1


def test_beyond_the_image_labels_are_ignored():
    _, label, _ = Windows(cases((2, 6, 6)), (4, 8, 8), SamplingConfig(foreground=0), seed=0)[0]
    assert (label == IGNORE).sum() == 4 * 8 * 8 - 2 * 6 * 6


def test_augmentation_moves_image_and_label_alike():
    random = np.random.default_rng(0)
    label = np.kron(random.integers(0, 2, (4, 4, 4)), np.ones((1, 8, 8))).astype(np.int64)
    pairs = [Arrays(label[None].astype(np.float32), label)]
    config = SamplingConfig(flip=["D", "H", "W"], right_angles=True, rotate=20, scale=0.1)
    for n in range(8):
        image, moved, _ = Windows(pairs, (4, 32, 32), config, seed=0)[n]
        assert ((image[0] > 0.5) == (moved == 1)).float().mean() > 0.97


def test_non_empty_sections_hold_foreground_and_every_range_of_them_is_drawn():
    """Foreground lies in sections 1 to 3 of 6: ranges of two from 0, 1, 2 or 3 hold some, the one from 4 does not."""
    numbers = np.broadcast_to(np.arange(6.0)[:, None, None], (1, 6, 20, 22))
    numbered = [case._replace(image=numbers) for case in cases()]
    windows = Windows(numbered, (2, 20, 22), SamplingConfig(foreground=0), seed=0, non_empty=True)
    firsts = [int(windows[n].image[0, 0, 0, 0]) for n in range(80)]
    assert set(firsts) == {0, 1, 2, 3}
    assert all((windows[n].target > 0).any() for n in range(20))


def test_dropped_modalities_are_zero_and_said_to_be_absent():
    config = SamplingConfig(foreground=0, modality_dropout=0.5)
    samples = [Windows(cases(channels=3), (2, 8, 8), config, seed=0)[n] for n in range(60)]
    assert {tuple(sample.present.tolist()) for sample in samples} == {
        (a, b, c) for a in (True, False) for b in (True, False) for c in (True, False) if a or b or c
    }
    for image, _, present in samples:
        assert (image.abs().sum(dim=(1, 2, 3)) > 0).tolist() == present.tolist()


def test_a_modality_that_a_case_lacks_stays_absent():
    lacking = [case._replace(present=np.array([True, False])) for case in cases()]
    for dropout in (0.0, 0.9):
        config = SamplingConfig(foreground=0, modality_dropout=dropout)
        image, _, present = Windows(lacking, (2, 8, 8), config, seed=0)[0]
        assert present.tolist() == [True, False]
        assert not image[1].any()
