"""Slice attention beside non-local blocks: what is counted, what is measured, what is said of the paper's claims."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recurseg.bench import attention, attention_claims, benchmarks, registry, run_benchmarks
from recurseg.bench.attention_claims import Place
from recurseg.bench.peak import peak_memory
from recurseg.cli.main import main

TINY = (2, 4, 4)
SIZES = (TINY, (3, 6, 6))
PLACES = (Place(TINY, 4), Place((3, 4, 6), 6))
LEVEL, BOTTOM = (8, 40, 33), (4, 20, 17)
MEGABYTE = 250_000
"""Numbers in float32."""


@pytest.fixture(autouse=True)
def nothing_measured_yet():
    attention.step_peaks.cache_clear()
    attention.step_seconds.cache_clear()


def test_the_peak_is_what_was_held_at_once():
    held = torch.zeros(5 * MEGABYTE)

    def work():
        first = torch.zeros(2 * MEGABYTE)
        second = first + 1
        del first
        return held.sum() + (second + 1).sum()

    assert peak_memory(work) == pytest.approx(4e6, abs=1000)


def test_what_an_operation_takes_for_itself_counts():
    a = torch.randn(MEGABYTE, 2)
    assert 2e6 < peak_memory(lambda: a.T.contiguous()) < 2.1e6  # a copy, and the block that it turns at a time


def test_the_peak_of_a_non_local_step_holds_three_maps_and_the_fused_one_none():
    """Softmax keeps its map, its gradient comes, and becomes that of the logits."""
    size = (4, 8, 16)
    a_map = 4 * 512**2
    peaks = attention.step_peaks(size, 4, "cpu")
    assert 3 * a_map <= peaks["non_local"] <= 3.3 * a_map
    assert peaks["non_local_fused"] < a_map
    assert peaks["rsa"] < a_map


def test_map_entries_at_the_paper_s_sizes():
    assert attention_claims.map_entries(LEVEL) == {"rsa": 64 + 1600 + 1089, "non_local": 10_560**2}
    assert attention_claims.map_entries(BOTTOM) == {"rsa": 16 + 400 + 289, "non_local": 1360**2}
    assert attention_claims.map_entries(attention_claims.VOLUME)["non_local"] == 67_108_864**2  # as the paper says


def test_multiply_adds_of_maps_by_hand():
    """2 × 3 × 4 voxels, 4 channels: 2² products of 48 numbers, 3² of 32, 4² of 24; 24² of 2."""
    found = attention_claims.map_multiply_adds((2, 3, 4), 4, inner=2)
    assert found == {"rsa": 4 * 48 + 9 * 32 + 16 * 24, "non_local": 576 * 2}


@pytest.mark.parametrize("size", [LEVEL, BOTTOM, (2, 3, 4)], ids=str)
def test_multiply_adds_of_maps_as_torch_counts_them(size):
    """The products of equation 1, axis by axis, on tensors without data."""
    channels = 6
    volume = torch.empty(channels, *size, device="meta")
    with FlopCounterMode(display=False) as by_slices:
        for axis in range(3):
            rows = volume.movedim(1 + axis, 0).reshape(size[axis], -1)
            torch.mm(rows, rows.T)
    rows = volume[:3].reshape(3, -1)
    with FlopCounterMode(display=False) as by_voxels:
        torch.mm(rows.T, rows)
    counted = {"rsa": by_slices.get_total_flops() // 2, "non_local": by_voxels.get_total_flops() // 2}
    assert attention_claims.map_multiply_adds(size, channels, inner=3) == counted


def test_multiply_adds_of_a_step_by_hand():
    """A non-local block has four projections and two products, and each has two gradients."""
    size, channels, voxels = (2, 3, 4), 6, 24
    forward = 4 * voxels * channels * 3 + 2 * voxels**2 * 3
    assert attention_claims.step_multiply_adds("non_local", size, channels) == 3 * forward


def test_a_step_of_slice_attention_has_its_maps_and_projections_several_times():
    """Forward: two projections, the map, the answer, for each axis; backward at least twice as many products."""
    size, channels, voxels = (4, 6, 8), 6, 192
    forward = 3 * 2 * voxels * channels**2 + 2 * channels * voxels * sum(size)
    assert 3 * forward <= attention_claims.step_multiply_adds("rsa", size, channels) <= 4 * forward


def test_the_verdict_on_memory_says_where_the_claim_holds():
    found = attention_claims.memory_claim(PLACES)
    assert found.samples == [min(32**2 / 36, 72**2 / 61)]
    maps, step = found.verdict.split(". ")[1:]
    assert maps.startswith("Maps alone, counted: holds at 2 × 4 × 4 voxels with 4 channels (28 times)")
    assert "256 × 512 × 512 voxels (7,635,497,415 times)" in maps  # 2⁵² / (2¹⁶ + 2 · 2¹⁸) = 2³⁶ / 9
    assert "does not hold" not in maps
    assert "does not hold at 2 × 4 × 4 voxels with 4 channels" in step


def test_the_verdict_on_operations_at_the_paper_s_levels(monkeypatch):
    """10560 / (2 · 81) and 1360 / (2 · 41) by half the channels, twice that by all."""
    monkeypatch.setattr(attention_claims, "step_seconds", lambda *given: {"rsa": np.ones(3), "non_local": np.ones(3)})
    found = attention_claims.operations_claim()
    assert found.samples == [pytest.approx(1360 / 82)]
    halved, whole, counted, taken = found.verdict.split(". ")[1:]
    assert "; does not hold at 8 × 40 × 33 voxels with 256 channels (65 times), 4 × 20 × 17" in halved
    assert "holds at 8 × 40 × 33 voxels with 256 channels (130 times)" in whole
    assert "; does not hold at 4 × 20 × 17 voxels with 512 channels (33 times)" in whole
    assert "holds at" not in counted.replace("does not hold at", "")
    assert taken.startswith("Its time, measured: does not hold at 8 × 40 × 33 voxels with 256 channels (1 times)")


@pytest.mark.parametrize(
    "measure",
    [
        partial(attention.memory_ratio, "non_local", TINY, channels=4),
        partial(attention.time_ratio, "non_local_fused", TINY, channels=4, seconds=0),
        partial(attention.memory_growth, "rsa", SIZES),
        partial(attention.time_growth, "non_local", SIZES, seconds=0),
        partial(attention_claims.memory_claim, PLACES),
        partial(attention_claims.operations_claim, PLACES, seconds=0),
    ],
    ids=lambda measure: measure.func.__name__,
)
def test_benchmarks_give_finite_samples_at_a_tiny_size(measure):
    samples = np.array(measure().samples)
    assert len(samples)
    assert np.isfinite(samples).all()


def test_blocks_take_turns_on_a_volume_and_are_timed_once_for_all_who_ask():
    taken = attention.step_seconds(TINY, 4, "cpu", 0.0)
    assert {name: len(rounds) for name, rounds in taken.items()} == dict.fromkeys(attention.BLOCKS, 5)
    assert attention.step_seconds(TINY, 4, "cpu", 0.0) is taken


def test_growth_and_ratio_share_what_is_measured(monkeypatch):
    steps = []
    monkeypatch.setattr(attention, "peak_memory", lambda work, device: steps.append(work) or 1)
    for name in attention.BLOCKS:
        attention.memory_growth(name, SIZES)
    assert attention.memory_ratio("non_local", TINY).samples == [1.0]
    assert len(steps) == len(SIZES) * len(attention.BLOCKS)


def test_growth_goes_as_far_as_each_block_can(monkeypatch):
    monkeypatch.setitem(attention.MOST, "cpu", {"rsa": 108, "non_local": 32, "non_local_fused": 108})
    assert list(attention.steps(SIZES[1])) == ["rsa", "non_local_fused"]
    rsa = attention.memory_growth("rsa", SIZES)
    assert [voxels for voxels, _ in rsa.curve] == [32, 108]


def test_time_and_memory_have_a_picture_each(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_benchmarks", {})
    monkeypatch.setattr(registry, "MODULES", ())
    for name in ("rsa", "non_local"):
        registry.benchmark(f"{name}_m", unit="exponent", what="peak")(partial(attention.memory_growth, name, SIZES))
        registry.benchmark(f"{name}_t", unit="exponent", what="time")(
            partial(attention.time_growth, name, SIZES, seconds=0)
        )
    run_benchmarks(out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "attention_memory.svg",
        "attention_time.svg",
        "bench.json",
    ]
    assert "<!-- peak, MiB -->" in (tmp_path / "attention_memory.svg").read_text()


def test_a_verdict_is_printed_and_in_the_json(monkeypatch, capsys):
    monkeypatch.setattr(registry, "_benchmarks", {})
    monkeypatch.setattr(registry, "MODULES", ())
    registry.benchmark("claim", unit="ratio", what="a claim")(
        lambda: registry.Measurement([2.0], verdict="It holds.")
    )
    assert main(["bench", "claim"]) == 0
    assert "claim: It holds." in capsys.readouterr().out
    assert main(["bench", "claim", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["claim"]["verdict"] == "It holds."


def test_the_agreed_ids_are_there():
    agreed = ["slice_attention_memory", "slice_attention_time", "slice_attention_time_fused"]
    assert [found.id for found in benchmarks(agreed)] == agreed
