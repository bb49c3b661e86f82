"""A long volume is predicted out of core beside a short one, each by a process of its own."""

import sys

import pytest

from recurseg.bench import out_of_core


def test_states_are_hidden_and_cell_planes_of_two_directions_where_planes_are_largest():
    assert out_of_core.states((256, 256, 64)) == 4 * 2 * 2 * 16 * (256 * 128)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_the_ratio_is_that_of_two_processes(capfd):
    (ratio,) = out_of_core.out_of_core_memory(((32, 32, 32), (32, 32, 16)), 2**27).samples
    assert 0.7 < ratio < 1.4
    assert "32 × 32 × 16" in capfd.readouterr().err
