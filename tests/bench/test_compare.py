"""Layers and networks against their bound, their textbook form and a feed-forward rival."""

import json
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from torch import nn

from recurseg.bench import benchmarks, compare, models, ops, registry, run_benchmarks
from recurseg.bench.bound import SweepSize
from recurseg.bench.compare import COLUMNS, Case
from recurseg.bench.models import CLASSES, IMAGE, KINDS, VOLUME
from recurseg.bench.multiply_adds import forward_multiply_adds
from recurseg.bench.rivals import convolutions, count_parameters, network, perceptron
from recurseg.bench.textbook import textbook
from recurseg.cli.main import main
from recurseg.layers.conv_lstm import ConvLSTM
from recurseg.layers.sweep import PyramidSweep
from recurseg.models import create_model
from recurseg.models.registry import BUILT_IN

TINY = {4: (1, 2, 20, 20), 5: (1, 2, 2, 4, 4)}
CASE = Case(
    lambda: ConvLSTM(2, 3), (1, 2, 2, 4, 4), convolutions(2, 3), in_textbooks=True, seconds=0, least=1, side=16
)


def small(name: str) -> Case:
    kind = KINDS[name]
    shape = IMAGE if len(kind.paper) == 4 else VOLUME
    return replace(models.case(name, kind, TINY[len(shape)], CLASSES, kind.small), seconds=0, least=1, side=16)


@pytest.fixture
def registered(monkeypatch):
    """Two layers, one small and one large."""
    monkeypatch.setattr(registry, "_benchmarks", {})
    monkeypatch.setattr(registry, "MODULES", ())
    compare.seconds_of.cache_clear()
    compare.peaks_of.cache_clear()
    compare.register("ops:small", "loop", CASE)
    compare.register("ops:paper", "loop", replace(CASE, rival=None, in_textbooks=False), long=True)


@pytest.mark.parametrize(
    ("module", "shape", "count"),
    [
        (nn.Conv2d(2, 3, 3, padding=1), (1, 2, 4, 5), 20 * 9 * 6),
        (nn.Linear(4, 5), (3, 4), 60),
        (nn.LSTM(2, 3, batch_first=True), (2, 5, 2), 2 * 5 * 12 * (2 + 3)),
        (PyramidSweep(1, 2, kernel=3), (1, 1, 3, 4, 5), SweepSize(1, 2, 3, (3, 4, 5)).multiply_adds),
    ],
    ids=["convolution", "linear", "lstm", "sweep"],
)
def test_multiply_adds_by_hand(module, shape, count):
    assert forward_multiply_adds(module, shape) == count


def test_multiply_adds_do_not_depend_on_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert (
            forward_multiply_adds(PyramidSweep(1, 2, kernel=3), (1, 1, 2, 3, 4))
            == SweepSize(1, 2, 3, (2, 3, 4)).multiply_adds
        )
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", list(KINDS))
def test_every_network_is_measured_against_all_that_is_named(name):
    case = small(name)
    assert (textbook(case.build()) is not None) == case.in_textbooks or case.needs == "dnc"
    assert forward_multiply_adds(case.build().eval(), case.shape) > 0
    for work in compare.works(case, train=True).values():
        work()


@pytest.mark.parametrize("name", list(ops.SMALL))
def test_every_layer_is_measured_against_all_that_is_named(name):
    case = ops.SMALL[name]
    if len(case.shape) == 5:
        case = replace(case, shape=(*case.shape[:2], 2, 4, 4))
    assert (textbook(case.build()) is not None) == case.in_textbooks or case.needs == "dnc"
    assert forward_multiply_adds(case.build(), case.shape) > 0
    for work in compare.works(case, train=True).values():
        work()


def test_every_built_in_model_and_op_has_its_place():
    assert set(KINDS) == set(BUILT_IN)
    assert set(ops.SMALL) == set(ops.PAPER)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.rival])
@pytest.mark.parametrize("size", ["small", "paper"])
def test_rivals_have_as_many_parameters(name, size):
    """Within what one channel more changes: a level of few channels has coarse steps."""
    kind = KINDS[name]
    options, channels, classes = (kind.small, 2, 2) if size == "small" else ({}, kind.paper[1], kind.classes)
    with torch.device("meta"):
        ours = create_model(name, in_channels=channels, num_classes=classes, **options)
        rival = network(kind.rival, in_channels=channels, num_classes=classes)(count_parameters(ours))
    near = 0.15 if size == "small" or kind.rival == "feed_forward_classifier" else 0.02
    assert count_parameters(rival) == pytest.approx(count_parameters(ours), rel=near)


@pytest.mark.parametrize(
    ("rival", "shape", "out"),
    [
        (convolutions(2, 16), (1, 2, 3, 4, 5), (1, 16, 3, 4, 5)),
        (convolutions(2, 16, dims=2), (1, 2, 4, 5), (1, 16, 4, 5)),
        (perceptron(8), (2, 1, 7, 8), (2, 1, 7, 8)),
    ],
    ids=["volume", "image", "sequence"],
)
def test_rivals_of_layers_have_their_shape_and_parameters(rival, shape, out):
    layer = rival(5000)
    assert layer(torch.zeros(shape)).shape == out
    assert count_parameters(layer) == pytest.approx(5000, rel=0.06)


def test_all_columns_of_a_layer_come_from_one_comparison(registered, monkeypatch):
    turns = []
    monkeypatch.setattr(
        compare, "take_turns", lambda works, **how: turns.append(len(works)) or np.array([[2.0, 6.0, 1.0, 4.0]])
    )
    found = {r.benchmark.id.split(":")[-1]: r.value for r in run_benchmarks(["ops:small:loop:train"])}
    assert turns == [4]
    assert list(found) == list(COLUMNS)
    multiply_adds = 4 * 3 * 9 * (2 * 16 * 2 + 16 * 3)
    assert found["seconds"] == 2.0
    assert found["bound"] == pytest.approx(2.0 / (4.0 * 3 * multiply_adds / 16**3))
    assert found["textbook"] == 3.0
    assert found["rival"] == 0.5


def test_memory_is_that_beyond_input_and_weights(registered):
    """The output alone has 2 × 4 × 4 positions of 3 channels; what a training step keeps is several times that."""
    found = {r.benchmark.id: r.value for r in run_benchmarks(["ops:small:loop"])}
    forward, train = (found[f"ops:small:loop:{mode}:memory"] * 2**20 for mode in ("forward", "train"))
    assert 4 * prod((2, 4, 4, 3)) < forward < train


def test_a_group_names_all_in_it_and_takes_minutes_where_it_is_asked_to(registered):
    assert {found.id.split(":")[1] for found in benchmarks()} == {"small"}
    assert [found.id for found in benchmarks(["ops:paper:loop:forward"])] == [
        f"ops:paper:loop:forward:{column}" for column in ("seconds", "bound", "memory")
    ]
    assert {found.id.split(":")[1] for found in benchmarks(["ops"])} == {"small", "paper"}


def test_a_group_leaves_out_what_cannot_run_here(registered):
    registry.benchmark("ops:small:loop:train:other", unit="ratio", what="x", needs="no_such_package")(
        lambda: registry.Measurement([1.0])
    )
    assert "ops:small:loop:train:other" not in [found.id for found in benchmarks(["ops:small"])]


def test_bounds_have_a_picture(registered, tmp_path):
    run_benchmarks(["ops:small"], out=tmp_path)
    picture = (tmp_path / "bound_ops_small.svg").read_text()
    for shown in ("loop, forward", "loop, train", "textbook form", "feed-forward rival"):
        assert f"<!-- {shown} -->" in picture


def test_the_command_shows_a_row_a_layer_and_mode_with_whole_numbers_in_80_columns(registered, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["bench", "ops:small"]) == 0
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines() if line.strip().startswith("loop ")]
    assert [row[:2] for row in rows] == [["loop", "forward"], ["loop", "train"]]
    assert [len([float(number) for number in row[2:]]) for row in rows] == [7, 7]


def test_the_json_has_an_id_a_number(registered, capsys):
    assert main(["bench", "ops:small:loop:forward:memory", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["ops:small:loop:forward:memory"]
    assert found["unit"] == "MiB"
    assert found["value"] > 0
