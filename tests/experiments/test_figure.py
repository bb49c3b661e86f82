import json

import numpy as np
import pytest
from PIL import Image

from recurseg.cli.main import main
from recurseg.experiments.completed_digits import choose_examples
from recurseg.experiments.figure import find_figure, list_figures
from recurseg.experiments.table import find_table


@pytest.mark.parametrize("id", list_figures())
def test_a_figure_names_rows_of_its_table(id):
    figure = find_figure(id)
    table = find_table(figure.table)
    for rows in figure.panels.values():
        for row in rows:
            for scale in ("small", "full"):
                assert table.row(row.replace("$cell", figure.cell[scale])).training(scale) is not None


def test_examples_tell_the_last_network_from_the_others_and_end_with_one_that_all_miss():
    first = np.array([True, False, False, True, False])
    second = np.array([True, True, False, False, False])
    last = np.array([True, True, True, False, False])
    assert choose_examples([first, second, last], 3) == [2, 1, 4]
    assert choose_examples([first, second, last], 9) == [2, 1, 0, 4]


def test_figure_5_is_drawn_with_the_runs(tmp_path, capsys):
    where = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    assert main(["reproduce", "shamann/figure5", "--scale", "smoke", *where, "--json"]) == 0
    path = json.loads(capsys.readouterr().out.splitlines()[-1])["figure"]
    with Image.open(path) as picture:
        assert min(picture.size) > 300
    assert not list((tmp_path / "results").rglob("*.png"))
