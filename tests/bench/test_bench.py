import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recurseg.bench import (
    Measurement,
    benchmark,
    benchmarks,
    bound,
    busy,
    gpu,
    growths,
    low_memory,
    recurrences,
    registry,
    run_benchmarks,
    start,
    volume,
)
from recurseg.bench.growth import fit_exponent
from recurseg.bench.timing import take_turns
from recurseg.cli.main import main
from recurseg.errors import ConfigError
from recurseg.inference import Segmenter
from recurseg.layers.sweep import PyramidSweep
from recurseg.ops import md_lstm, sweep

SIZE = bound.SweepSize(1, 2, 3, (3, 4, 5))
STEPS = ["md_lstm_steps", "pyramid_steps"]


@pytest.fixture
def measured(monkeypatch):
    """Two benchmarks that are known in advance."""
    monkeypatch.setattr(registry, "_benchmarks", {})
    monkeypatch.setattr(registry, "MODULES", ())
    benchmark("five", unit="ratio", what="five rounds")(lambda: Measurement([5.0, 1.0, 2.0, 3.0, 4.0]))
    benchmark("grown", unit="exponent", what="a growth")(lambda: Measurement([1.5], [(8, 1.0), (64, 22.6)]))


def test_a_result_is_the_median_with_half_the_quartile_range(measured):
    (found,) = run_benchmarks(["five"])
    assert found.as_dict() == {"value": 3.0, "spread": 1.0, "unit": "ratio"}


def test_a_single_sample_has_no_spread(measured):
    assert run_benchmarks(["grown"])[0].spread == 0


def test_without_ids_all_are_run_in_their_order_with_progress(measured):
    calls = []
    results = run_benchmarks(progress=lambda *call: calls.append(call))
    assert [result.benchmark.id for result in results] == ["five", "grown"]
    assert calls == [(0, 2, "five"), (1, 2, "grown")]


def test_what_takes_minutes_runs_only_where_it_is_named(measured):
    benchmark("slow", unit="GB", what="minutes", long=True)(lambda: Measurement([4.0]))
    assert [found.id for found in benchmarks()] == ["five", "grown"]
    assert [found.id for found in benchmarks(["slow", "five"])] == ["slow", "five"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_a_volume_is_predicted_once_for_its_memory_and_its_seconds(monkeypatch):
    calls = []
    predict = Segmenter.predict
    monkeypatch.setattr(Segmenter, "predict", lambda *given: calls.append(1) or predict(*given))
    size = (3, 18, 20)
    assert 0.1 < volume.volume_memory(size).samples[0] < 4
    assert volume.volume_seconds(size).samples[0] > 0
    assert len(calls) == 1


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown benchmark 'md_lstm_grwth'; did you mean 'md_lstm_growth'"):
        benchmarks(["md_lstm_growth", "md_lstm_grwth"])


def test_out_has_every_sample_the_machine_and_the_picture(measured, tmp_path):
    run_benchmarks(out=tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bench.json", "growth.svg"]
    found = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert found["results"]["five"]["samples"] == [5.0, 1.0, 2.0, 3.0, 4.0]
    assert found["results"]["grown"]["curve"] == [[8, 1.0], [64, 22.6]]
    assert found["machine"]["cores"] >= 1
    assert "torch" in found["versions"]
    assert "<svg" in (tmp_path / "new" / "growth.svg").read_text()


def test_no_picture_where_nothing_grew(measured, tmp_path):
    run_benchmarks(["five"], out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_the_command_prints_one_json_document(capsys):
    assert main(["bench", *STEPS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == STEPS
    assert found["md_lstm_steps"] == {"value": 503, "spread": 0, "unit": "steps"}


def test_the_command_prints_a_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["bench", "pyramid_steps"]) == 0
    shown = capsys.readouterr().out
    assert "pyramid_steps" in shown
    assert "240" in shown


def test_the_command_refuses_an_unknown_id_in_one_line(capsys):
    assert main(["bench", "pyramid_step"]) == 2
    assert "did you mean 'pyramid_steps'?" in capsys.readouterr().err


def test_works_take_turns_and_the_first_round_does_not_count():
    calls = []

    def work(name, pause):
        calls.append(name)
        time.sleep(pause)

    taken = take_turns([partial(work, "a", 0.001), partial(work, "b", 0.004)], seconds=0.0)
    assert taken.shape == (5, 2)
    assert np.median(taken[:, 1]) > np.median(taken[:, 0])
    assert "".join(calls) == "ba" + "abba" * 2 + "ab"


@pytest.mark.parametrize("exponent", [1.0, 1.7])
def test_the_exponent_of_a_power_law_is_found(exponent):
    sizes = np.array([8.0, 27.0, 64.0])
    assert fit_exponent(sizes.tolist(), (3e-6 * sizes**exponent).tolist()) == pytest.approx(exponent)


@pytest.mark.parametrize(
    ("kernel", "spatial", "share"),
    [(1, (5, 5, 5), 13 / 125), (3, (5, 5, 5), 1.0), (1, (5, 5), 9 / 25)],
    ids=["axes alone", "pyramids fill the volume", "a cross"],
)
def test_context_is_the_share_of_voxels_that_reach_the_centre(kernel, spatial, share):
    torch.manual_seed(0)
    layer = PyramidSweep(1, 2, kernel=kernel, spatial_dims=len(spatial))
    assert recurrences.context(layer, spatial) == pytest.approx(share)


def test_context_of_a_convolution_is_its_window():
    assert recurrences.context(nn.Conv2d(1, 1, 3, padding=1), (7, 7)) == pytest.approx(9 / 49)


def test_steps_of_the_paper_s_volume():
    assert md_lstm.sequential_steps((25, 240, 240)) == 25 + 240 + 240 - 2
    assert sweep.sequential_steps((25, 240, 240)) == 240


def test_multiply_adds_counted_by_hand():
    """2 × 3 pixels, 1 → 1 channel, kernel 3: 4 gates × 3 taps × (4 directions × 6 inputs + recurrent pixels)."""
    recurrent = 2 * 3 + 2 * 4  # two scans of the first axis recur on 1 of 2 lines, two of the last on 2 of 3
    assert bound.SweepSize(1, 1, 3, (2, 3)).multiply_adds == 4 * 3 * (4 * 6 + recurrent)


def test_a_matrix_product_takes_about_its_own_bound():
    a = torch.randn(96, 96)
    found = bound.over_bound(lambda: a @ a, 96**3, seconds=0.1, side=96)
    assert 0.2 < np.median(found.samples) < 5


@pytest.mark.parametrize(
    "measure",
    [
        partial(recurrences.forward_ratio, (2, 3, 3), seconds=0),
        partial(recurrences.training_ratio, (2, 3, 3), seconds=0),
        partial(recurrences.md_lstm_growth, (2, 3), seconds=0),
        partial(recurrences.pyramid_growth, (2, 3), seconds=0),
        recurrences.md_lstm_context,
        partial(bound.sweep_over_bound, SIZE, train=True, seconds=0, side=32),
        partial(bound.sweep_over_bound, SIZE, train=False, as_textbook=True, seconds=0, side=32),
        partial(busy.small_busy, SIZE, seconds=0, steps=1),
        partial(low_memory.memory, (4, 9, 9)),
        partial(low_memory.memory_train, (4, 9, 9), seconds=0, side=32),
        partial(gpu.over_ours, torch.float32, (SIZE,), device="cpu", side=32),
        partial(gpu.share, torch.bfloat16, (SIZE,), device="cpu", side=32),
        partial(gpu.volume_seconds, (2, 3, 4), device="cpu", widths=(2,), pixelwise=(), kernel=3),
        partial(start.help_seconds, 1),
        *(partial(growths.train_growth, growth, growth.sizes[:2], seconds=0) for growth in growths.GROWTHS.values()),
    ],
    ids=lambda measure: getattr(measure, "func", measure).__name__,
)
def test_benchmarks_give_finite_samples_at_a_tiny_size(measure):
    samples = np.array(measure().samples)
    assert len(samples)
    assert np.isfinite(samples).all()


def test_every_id_says_what_it_measures():
    for found in benchmarks():
        assert found.what
        assert found.unit in {"ratio", "exponent", "steps", "share", "s", "GB", "MiB"}


def test_the_documentation_lists_every_id_or_its_group():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "performance.md").read_text()
    benchmarks()
    ids = {id.partition(":")[0] for id in registry._benchmarks}
    missing = [id for id in ids if f"`{id}`" not in page]
    assert [id for id in missing if not (id.startswith("gpu_") and id.removeprefix("gpu_") in ids)] == []


AGREED = (
    "sweep_wide_forward",
    "sweep_wide_train",
    "sweep_small_forward",
    "sweep_small_train",
    "sweep_plane_forward",
    "sweep_plane_train",
    "sweep_volume_train",
    "sweep_small_busy",
    "sweep_memory",
    "sweep_memory_train",
    "memory_step",
    "memory_step_dnc",
    "slice_attention_memory",
    "slice_attention_time",
    "slice_attention_time_fused",
    "stream_memory",
    "stream_time",
    "out_of_core_memory",
    "gpu_sweep",
    "gpu_volume_s",
)


def test_the_agreed_ids_are_there():
    benchmarks()
    assert set(AGREED) <= set(registry._benchmarks)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists children so")
def test_a_process_that_spins_is_gone_afterwards():
    with busy.spinning() as switch:
        switch(True)
        switch(False)
        (child,) = _children()
    assert child not in _children()


def _children() -> set[int]:
    return {int(id) for id in Path("/proc/self/task").joinpath(f"{os.getpid()}", "children").read_text().split()}


def test_what_needs_a_gpu_says_so_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "gpu_sweep" not in [found.id for found in benchmarks()]
    with pytest.raises(ConfigError, match="'gpu_sweep' needs a CUDA device: run it on a machine that has one"):
        benchmarks(["gpu_sweep"])


def test_what_needs_a_package_names_it(measured):
    benchmark("peer", unit="ratio", what="a peer", needs="no_such_package")(lambda: Measurement([1.0]))
    with pytest.raises(ConfigError, match="'peer' compares with the package no_such_package: install it"):
        benchmarks(["peer"])
