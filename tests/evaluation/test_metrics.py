"""The registry: every metric keeps its promises and stands on the page of definitions."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recurseg.errors import ConfigError
from recurseg.evaluation import METRICS, QUANTITIES
from recurseg.evaluation.burden import LESION_QUANTITIES
from recurseg.evaluation.metrics import choose

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
WALL = np.zeros((2, 8, 9), bool)
WALL[:, 3:5] = True  # a wall between two cells
HOLED = WALL.copy()
HOLED[:, :, 4] = False
OF_MASKS = [metric for metric in METRICS.values() if metric.takes != "target"]


@pytest.mark.parametrize("metric", OF_MASKS, ids=lambda metric: metric.id)
def test_agreement_is_the_best_value_and_disagreement_is_worse(metric):
    best = metric.range[1] if metric.better == "higher" else metric.range[0]
    assert metric(WALL, WALL, (2, 1, 1)) == best
    # lost cells are neither splits nor mergers: there a hole in the wall stands for disagreement
    worse = metric(HOLED if metric.id.endswith("splits_mergers") else ~WALL, WALL, (2, 1, 1))
    assert worse < best if metric.better == "higher" else worse > best
    assert metric.range[0] <= worse <= metric.range[1]


@pytest.mark.parametrize("metric", OF_MASKS, ids=lambda metric: metric.id)
def test_a_structure_on_one_side_only_is_never_undefined(metric):
    for pair in ((WALL, ~WALL & WALL), (~WALL & WALL, WALL)):
        value = metric(*pair, (2, 1, 1))
        assert np.isfinite(value)
        assert value != metric(WALL, WALL, (2, 1, 1))


@pytest.mark.parametrize("metric", [m for m in OF_MASKS if m.takes != "image"], ids=lambda metric: metric.id)
def test_ignored_voxels_do_not_change_the_value(metric):
    reference = WALL.astype(np.uint8)
    reference[:, -2:] = 255
    prediction = np.roll(WALL, 1, axis=1)
    noisy = prediction.copy()
    noisy[:, -2:, ::2] = True
    assert metric(noisy, reference, (2, 1, 1)) == pytest.approx(metric(prediction, reference, (2, 1, 1)))


def test_the_page_of_definitions_has_a_row_for_every_metric():
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    quantities = {**QUANTITIES, **LESION_QUANTITIES}
    assert {id for id, _ in rows} == {*METRICS, *quantities}
    for id, cells in rows:
        assert id in quantities or METRICS[id].better in cells
        unit = cells.replace("\\|", "").split("|")[1].strip()
        assert unit == ({**METRICS, **quantities}[id].unit or "–")


def test_the_snippets_of_the_page_run():
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(snippet, {})


def test_asking_for_no_metric_is_an_error():
    with pytest.raises(ConfigError, match="no metric"):
        choose([])


def test_importing_evaluation_loads_nothing_heavy():
    code = (
        "import sys, recurseg.evaluation; from recurseg.evaluation import METRICS, evaluate;"
        "print(sorted({'torch', 'scipy', 'monai', 'skimage', 'cc3d', 'nibabel', 'SimpleITK'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_evaluate_is_the_function_however_it_is_imported():
    import recurseg.evaluation
    import recurseg.evaluation.scoring
    from recurseg.evaluation import compare, evaluate

    assert callable(evaluate)
    assert callable(compare)
    assert recurseg.evaluation.evaluate is recurseg.evaluation.scoring.evaluate
