"""Charts of a log: minutes, running means, the best checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from recurseg.report.axes import Scale, round_values, value_scale
from recurseg.report.curves import Clock, _running_mean, charts
from recurseg.report.folder import read_run


def test_clock_adds_updates_and_validations():
    log = [{"event": "step", "step": s, "seconds": 30} for s in (1, 2)]
    log += [{"event": "validation", "step": 2, "seconds": 60}, {"event": "step", "step": 3, "seconds": 30}]
    clock = Clock(log)
    assert clock.at(1) == pytest.approx(0.5)
    assert clock.at(3) == pytest.approx(2.5)
    assert clock.step_at(0.5) == pytest.approx(1)


def test_running_mean_is_a_convolution_inside():
    value = np.random.default_rng(0).normal(size=50)
    inside = np.convolve(value, np.ones(5) / 5, mode="valid")
    np.testing.assert_allclose(_running_mean(value, 5)[2:-2], inside)
    assert _running_mean(value, 5)[0] == pytest.approx(value[:3].mean())


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 873), (-3, 4), (0.103, 0.211)])
def test_ticks_are_round_and_inside(low, high):
    ticks = round_values(low, high, 5)
    assert 2 <= len(ticks) <= 8
    assert low <= ticks[0] <= ticks[-1] <= high
    assert np.ptp(np.diff(ticks)) == pytest.approx(0, abs=1e-9)


def test_wide_ranges_are_logarithmic():
    scale = value_scale([1e-4, 1.0], 100, 0)
    assert scale.log
    assert [label for _, label in scale.ticks()] == ["1e-4", "0.001", "0.01", "0.1", "1"]
    assert not value_scale([0.5, 1.0], 100, 0).log


def test_scale_maps_ends():
    assert [Scale(0, 10, 50, 150)(value) for value in (0, 5, 10)] == [50, 100, 150]


def test_best_checkpoint_is_marked_where_the_manifest_says(stack_run):
    run = read_run(stack_run)
    chart = next(chart for chart in charts(run) if chart.title == "dice")
    assert chart.best is not None
    assert chart.best[2] == "best 0.8000"
    assert chart.best[:2] == chart.dots[1]
    assert len(chart.dots) == 3


def test_loss_that_was_not_finite_is_counted(stack_run):
    chart = charts(read_run(stack_run))[0]
    assert "1 step without a finite value left out" in chart.note
    assert not any("nan" in path for _, path in chart.lines)
    assert 7 not in [int(text.split()[1]) for _, _, text in chart.hover]


def test_second_stage_is_marked(stack_run):
    chart = charts(read_run(stack_run))[0]
    (stage,) = chart.stages
    assert stage == pytest.approx((chart.left + chart.right) / 2, abs=0.2)


def test_nothing_logged_draws_nothing(stack_run):
    (stack_run / "log.jsonl").write_text("")
    assert charts(read_run(stack_run)) == []


def test_line_cut_short_by_a_kill_is_left_out(stack_run):
    path = stack_run / "log.jsonl"
    whole = len(read_run(stack_run).log)
    path.write_text(path.read_text() + '{"event": "st')
    assert len(read_run(stack_run).log) == whole
