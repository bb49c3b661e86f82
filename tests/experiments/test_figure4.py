"""Figure 4 of SHAMANN: digits completed, measured by a classifier, compared digit by digit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recurseg.cli.main import main
from recurseg.data.dataset import open_dataset
from recurseg.data.formats.idx import read_labels
from recurseg.data.layouts.mnist import labels_of
from recurseg.experiments import find_table, reproduce
from recurseg.experiments.cells import write_cells
from recurseg.experiments.classifier import classify, digit_classifier
from recurseg.experiments.completion import ACCURACY, Completion
from recurseg.experiments.digits import write_digits
from recurseg.experiments.grid import expand
from recurseg.experiments.pairs import compare_pairs
from recurseg.experiments.show import as_data, as_lines, markdown

TABLE = "shamann/figure4"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("figure4")
    places = {"results": root / "results", "work": root / "work"}
    return places, list(reproduce(find_table(TABLE), scale="smoke", **places))


def test_the_grid_has_a_row_for_every_network_deletion_and_cell():
    rows = find_table(TABLE).rows
    assert len({row.id for row in rows}) == 4 * 2 * 6
    assert sum(row.small is not None for row in rows) == 8, "two deletions of four networks at cell 32"
    assert all(row.full for row in rows)


def test_a_grid_is_filled_in_from_its_axes():
    grid = {
        "axes": {"a": {"x": {"name": "X", "settings": ["s=$a"]}, "y": {"name": "Y"}}, "b": {"1": {"name": "one"}}},
        "row": {"id": "$a-$b", "name": "$a_name $b_name", "smoke": {"recipe": "r"}, "small": {"recipe": "$b"}},
        "only": {"small": {"a": ["y"]}},
        "pairs": [{"row": "x-$b", "rival": "y-$b"}],
    }
    small = {"recipe": "1", "settings": []}
    assert expand({"id": "t", "grid": grid}) == {
        "id": "t",
        "rows": [
            {"id": "x-1", "name": "X one", "smoke": {"recipe": "r", "settings": ["s=x"]}},
            {"id": "y-1", "name": "Y one", "smoke": {"recipe": "r", "settings": []}, "small": small},
        ],
        "pairs": [{"row": "x-1", "rival": "y-1"}],
    }  # fmt: skip


def test_drawn_digits_are_read_as_mnist_and_a_classifier_learns_them(tmp_path):
    write_digits(tmp_path / "digits")
    train, *_, test = open_dataset(tmp_path / "digits").cases
    images, others = (case.reference.array[...].astype(np.float32) / 255 for case in (train, test))
    labels, truth = (read_labels(labels_of(case.reference.path)) for case in (train, test))
    many = np.tile(images, (8, 1, 1)), np.tile(labels[: len(images)], 8)
    first = classify(digit_classifier(*many, tmp_path), others)
    assert (first == truth).mean() > 0.6, "chance is 0.1"
    np.testing.assert_array_equal(classify(digit_classifier(*many, tmp_path), others), first)
    assert len(list(tmp_path.glob("classifier-*.safetensors"))) == 1


def test_a_row_keeps_estimates_and_which_digits_were_right_but_no_line_a_digit(finished):
    places, entries = finished
    assert [entry.state for entry in entries] == ["done"] * 4
    stored = json.loads((places["results"] / TABLE / "digits/smoke/shamann-patches-8.json").read_text())
    assert (stored["evaluation"], stored["completion"]["n"]) == ([], 60)
    found = Completion.model_validate(stored["completion"])
    assert set(found.completed) == set(found.altered) == {ACCURACY, "mse", "dice@0.5"}
    assert found.completed[ACCURACY].mean == pytest.approx(found.legible.mean())
    estimate = found.altered["mse"]
    assert estimate.low < estimate.mean < estimate.high


def test_the_table_shows_digits_that_no_network_touched(finished):
    _, entries = finished
    lines = as_lines(find_table(TABLE), entries)
    names = [line[0] for line in lines]
    assert {"unaltered", "altered: bottom_half", "unaltered, printed"} <= set(names)
    assert any(name.startswith("altered: patches") for name in names)
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[names.index("unaltered, printed")][4] == "99.23"


def digits_right(entry, right: list[int]):
    """The entry as if the classifier had got these digits right."""
    bits = np.packbits(np.array(right, bool)).tobytes()
    import base64

    own = entry.result.completion.model_copy(update={"n": len(right), "right": base64.b64encode(bits).decode()})
    result = entry.result.model_copy(update={"completion": own})
    return type(entry)(entry.row, entry.source, entry.state, result)


def test_networks_are_compared_digit_by_digit(finished):
    _, entries = finished
    shamann, lstm = (next(e for e in entries if e.row.id == f"{name}-patches-8") for name in ("shamann", "bi_lstm"))
    shamann, lstm = digits_right(shamann, [1] * 6 + [0] * 4), digits_right(lstm, [0] * 6 + [1] + [0] * 3)
    (pair,) = compare_pairs(find_table(TABLE), [shamann, lstm])
    assert (pair.only_row, pair.only_rival, pair.difference) == (6, 1, 0.5)
    assert pair.p == pytest.approx(2 * (1 + 7) / 2**7)  # exact McNemar: 0 or 1 of 7, either way
    reach = 1.96 * (7 - 25 / 10) ** 0.5 / 10
    assert pair.interval == pytest.approx((0.5 - reach, 0.5 + reach))
    assert "McNemar p" in markdown(find_table(TABLE), [shamann, lstm])
    assert as_data(find_table(TABLE), [shamann, lstm])[0]["pairs"][0]["only_row"] == 6


def test_the_plot_has_a_panel_a_measure_and_deletion(finished, tmp_path):
    _, entries = finished
    path = write_cells(find_table(TABLE), entries, tmp_path, "smoke")
    assert path == tmp_path / TABLE / "digits" / "smoke" / "cells.svg"
    drawing = path.read_text()
    for said in ("bottom half", "patches", "accuracy %", "Dice", "size of the cell", "shamann", "paper, SHAMANN"):
        assert f"<!-- {said} -->" in drawing
    assert write_cells(find_table(TABLE), [], tmp_path, "smoke") is None


def test_stored_rows_are_shown_without_data(finished, capsys):
    places, _ = finished
    assert main(["reproduce", TABLE, "--scale", "smoke", "--stored", "--json", *_options(places)]) == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["done"] * 4


def _options(places) -> list[str]:
    return [text for key, path in places.items() for text in (f"--{key}", str(path))]
