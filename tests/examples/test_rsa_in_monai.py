"""The example of an RSA block in a network of MONAI."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

PATH = Path(__file__).parents[2] / "examples" / "rsa_in_monai.py"


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def found(example, capsys, steps):
    example.main(steps)
    return [float(value) for value in re.findall(r"Dice ([\d.]+)", capsys.readouterr().out)]


def test_it_runs_and_prints_both_networks(example, capsys):
    assert len(found(example, capsys, steps=2)) == 2


def test_spots_are_lesions_where_the_far_edge_is_bright(example):
    image, lesions = example.volumes(8, torch.Generator().manual_seed(0))
    bright = image[..., :2].mean((1, 2, 3, 4)) > 0
    assert 0 < bright.sum() < 8
    assert torch.equal(lesions.sum((1, 2, 3, 4)) > 0, bright)
    assert image[lesions > 0].mean() > 1


@pytest.mark.slow
def test_only_attention_sees_the_far_edge(example, capsys):
    plain, attended = found(example, capsys, steps=160)
    assert plain < 0.7
    assert attended > 0.9
