"""The chart of predictions from every subset of the modalities."""

import numpy as np
import pytest

from recurseg.evaluation import Evaluation, Subsets
from recurseg.evaluation.result import Row
from recurseg.evaluation.statistics import Resampled
from recurseg.report.subsets import draw_subsets, write_subsets

VALUES = {("T1", "T2"): 0.9, ("T1",): 0.5, ("T2",): 0.3}


def subsets(cases, regions=None):
    names = ["rim", "core"]
    evaluations = {
        subset: Evaluation(
            [Row(f"c{n}", name, "dice", value + n / 100, "") for n in range(cases) for name in names],
            regions=regions or {},
        )
        for subset, value in VALUES.items()
    }
    summaries = {s: {(x.metric, x.class_name): x for x in e.summary()} for s, e in evaluations.items()}
    mean = {key: Resampled(0.6, None) for key in summaries["T1", "T2"]}
    return Subsets(evaluations, [f"c{n}" for n in range(cases)], summaries, mean, [])


def heights(axes):
    return [bar.get_height() for bar in axes.patches]


def test_a_panel_a_class_with_a_bar_a_subset_and_the_dots_below():
    figure = draw_subsets(subsets(2))
    *panels, dots = figure.axes
    assert [axes.get_ylabel() for axes in panels] == ["rim", "core", "mean of classes"]
    assert heights(panels[0]) == pytest.approx([value + 0.005 for value in VALUES.values()])
    assert [label.get_text() for label in dots.get_yticklabels()] == ["T1", "T2"]
    filled = {tuple(np.asarray(line.get_ydata()).tolist()) for line in dots.lines if line.get_color() != "#d5dbe0"}
    assert filled == {(0, 1), (0,), (1,), (0, 0), (1, 1)}


def test_few_cases_are_dots_and_more_have_an_interval():
    few, many = (draw_subsets(subsets(n)).axes[0] for n in (3, 6))
    assert [len(np.atleast_1d(line.get_ydata())) for line in few.lines[:3]] == [3, 3, 3]
    assert (len(few.collections), len(many.collections)) == (0, 3)


def test_regions_take_the_place_of_classes():
    figure = draw_subsets(subsets(2, regions={"core": [1]}))
    assert [axes.get_ylabel() for axes in figure.axes] == ["core", ""]


def test_the_file_is_the_same_each_time(tmp_path):
    one, two = (write_subsets(subsets(2), tmp_path / name) for name in ("a.svg", "b.svg"))
    assert one.read_bytes() == two.read_bytes()
