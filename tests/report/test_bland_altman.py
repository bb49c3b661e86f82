"""Bland-Altman plots: what they show, and that their labels can be read."""

import numpy as np
import pytest

from recurseg.evaluation.cardiac import QUANTITIES, Cardiac
from recurseg.report.bland_altman import draw_bland_altman, write_bland_altman


def patients(count, spread=5.0, ids=tuple(QUANTITIES)):
    rng = np.random.default_rng(0)
    label = rng.uniform(50, 150, (count, len(ids)))
    found = label + 3 + rng.normal(0, spread, label.shape)
    return Cardiac(
        {f"p{n}": {id: (float(found[n, k]), float(label[n, k])) for k, id in enumerate(ids)} for n in range(count)}
    )


def panels(figure):
    return [axes for axes in figure.axes if axes.axison]


def test_a_panel_a_quantity_with_units_on_both_axes():
    shown = panels(draw_bland_altman(patients(7)))
    titles = [axes.get_title().split(",")[0] for axes in shown]
    assert titles == ["LV EDV", "LV ESV", "LV EF", "myocardial mass", "RV EDV", "RV ESV", "RV EF"]
    assert [axes.get_ylabel().split(", ")[1] for axes in shown[:4]] == ["ml", "ml", "%", "g"]
    assert shown[0].get_xlabel() == "mean of prediction and label, ml"


def test_points_are_difference_against_mean_and_lines_are_bias_and_limits():
    cardiac = Cardiac({p: {"lv_edv_ml": pair} for p, pair in {"a": (11.0, 9.0), "b": (20.0, 24.0)}.items()})
    axes = panels(draw_bland_altman(cardiac))[0]
    points, _, bias, low, high = axes.lines
    assert np.asarray(points.get_xdata()).tolist() == [10, 22]
    assert np.asarray(points.get_ydata()).tolist() == [2, -4]
    reach = 1.96 * 18**0.5  # (3² + 3²) / (2 − 1)
    heights = [np.asarray(line.get_ydata())[0] for line in (bias, low, high)]
    assert heights == pytest.approx([-1, -1 - reach, -1 + reach])
    assert [text.get_text() for text in axes.texts] == ["bias\n−1.0", "−1.96 SD\n−9.3", "+1.96 SD\n+7.3"]


def outlier():
    numbers = dict(patients(60, spread=0.01).patients)
    return Cardiac(numbers | {"lost": dict.fromkeys(QUANTITIES, (0.0, 200.0))})


@pytest.mark.parametrize(
    "cardiac", [patients(3), patients(100), patients(4, spread=0), outlier()], ids=["3", "100", "equal", "outlier"]
)
def test_labels_touch_neither_each_other_nor_another_panel(cardiac):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_bland_altman(cardiac)
    FigureCanvasAgg(figure).draw()
    for axes in panels(figure):
        boxes = [text.get_window_extent() for text in axes.texts]
        others = [other.yaxis.get_tightbbox() for other in panels(figure) if other is not axes]
        assert len(boxes) == 3
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in [*boxes[:k], *others])


def test_patients_without_a_value_and_quantities_without_patients_are_no_error():
    nan = float("nan")
    cardiac = Cardiac(
        {
            "a": {"lv_edv_ml": (9.0, 10.0), "lv_esv_ml": (nan, nan)},
            "b": {"lv_edv_ml": (nan, 1.0), "lv_esv_ml": (nan, nan)},
        }
    )
    first, second = panels(draw_bland_altman(cardiac))
    assert first.get_title() == "LV EDV, 1 patient"
    assert second.get_title() == "LV ESV, 0 patients"
    assert [text.get_text() for text in first.texts] == ["bias\n−1.0"], "one patient has no limits"


def test_the_file_is_the_same_each_time(tmp_path):
    one, two = (write_bland_altman(patients(3), tmp_path / name) for name in ("a.svg", "b.svg"))
    assert one.read_bytes() == two.read_bytes()
