"""A look inside SHAMANN and its relatives: what actors write and read, and what the exchange between them changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recurseg.explain import Part, Picture, Scene, Table
from recurseg.explain.actor_answers import answers_numbers
from recurseg.explain.answers import LEAST_CHANGE
from recurseg.explain.exchange import Said, alone, answers, exchange_cut, listen
from recurseg.explain.memory_traffic import Recording, Steps, Traffic, evenness, read_image, read_parts, sources
from recurseg.explain.memory_views import writes_again
from recurseg.explain.patch_reader import actor_names, explain_patch_reader
from recurseg.explain.patch_views import DIM, MOST_CLOCKS, chosen_clocks, footprint, patch_of, slots_by_clocks
from recurseg.layers.actors import Actor, MemoryActors
from recurseg.models import create_model
from recurseg.models import shamann as module
from recurseg.models.patches import PatchGrid
from recurseg.ops.actors import reference
from recurseg.ops.memory import memory_step

MEMORY = {"slots": 50, "word": 6, "heads": 3}


def network(name: str, *, trained: bool, dims: int = 2, **options) -> module.PatchReader:
    """A small one; a "trained" one has large weights, writes to unused slots and reads with strong keys."""
    torch.manual_seed(0)
    memory = MEMORY if name in ("shamann", "bi_mann") else {}
    options = {"patch": 8, "stride": 4, "widths": (4, 4), "cell": 8, "spatial_dims": dims} | memory | options
    model = create_model(name, in_channels=1, num_classes=2, **options).eval()
    assert isinstance(model, module.PatchReader)
    if trained:
        with torch.no_grad():
            for part in model.modules():
                if isinstance(part, nn.Linear):
                    part.weight.normal_(0, 2 / part.in_features**0.5)
                    part.bias.normal_(0, 0.5)
            for interface in interfaces(model):
                interface.bias[-4:] = 10  # strengths of three reads and a write
                interface.bias[-5] = -2  # content gate
    return model


def interfaces(model: module.PatchReader) -> list[nn.Linear]:
    actors = model.actors.actors if isinstance(model.actors, MemoryActors) else []
    return [actor.interface for actor in actors if isinstance(actor, Actor)]


def scene_of(model: nn.Module, *, shape: tuple[int, ...] = (20, 16)) -> Scene:
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1))
    return Scene(
        model=model,
        image=image,
        voxel=tuple(side // 2 for side in shape),
        target=1,
        class_names=["background", "lung"],
        modalities=["film"],
        spacing=(1.0,) * len(shape),
        planes=tuple([f"plane {index}" for index in range(size)] for size in shape),
        stored=tuple(side // 2 for side in shape),
        whole=shape,
    )


def recorded(name: str, *, trained: bool = True, cut: bool = False, **options) -> Recording:
    model = network(name, trained=trained, **options)
    image = scene_of(model).image
    if not cut:
        return read_image(model, image)
    with exchange_cut(model):
        return read_image(model, image)


def traffic_of(name: str, **options) -> Traffic:
    traffic = recorded(name, **options).traffic
    assert traffic is not None
    return traffic


def looked_inside(name: str, *, trained: bool = True, shape: tuple[int, ...] = (20, 16), **options):
    model = network(name, trained=trained, dims=len(shape), **options)
    return explain_patch_reader(scene_of(model, shape=shape), lambda fraction: None)


def part_of(name: str, parts) -> Part:
    return next(part for part in parts if isinstance(part, Part) and part.name == name)


def light_of(parts, actor: int) -> Picture:
    """The picture of where an actor's reads come from."""
    return part_of("memory", parts).rows[0][1 + actor]


@pytest.mark.parametrize("name", ["shamann", "bi_mann", "bi_lstm", "no_memory"])
def test_looking_on_changes_nothing(name):
    model = network(name, trained=True)
    image = scene_of(model).image
    with torch.no_grad():
        expected = model(image)
    recording = read_image(model, image)
    torch.testing.assert_close(recording.logits, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(answers(model, image, recording.outputs), recording.logits)
    with torch.no_grad():
        torch.testing.assert_close(model(image), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["shamann", "bi_mann"])
@pytest.mark.parametrize("addressing", ["least_used", "dnc"])
def test_the_parts_of_a_read_add_up_to_what_the_heads_read(name, addressing, monkeypatch):
    heard = []

    def listening(memory, interface, access):
        reads, after = memory_step(memory, interface, access)
        heard.append(reads[0].mean(dim=0).numpy())
        return reads, after

    model = network(name, trained=True, addressing=addressing)
    image = scene_of(model).image
    traffic = read_image(model, image).traffic
    assert traffic is not None
    plain = reference.read_sequences

    def read(inputs, weights, states, memory, reading):
        return plain(inputs, weights, states, memory, reading, listening)

    hook = model.actors.register_forward_pre_hook(lambda actors, given: (*given, read))
    with torch.no_grad():
        model(image)
    hook.remove()
    length, actors = traffic.patches.shape
    reads = np.stack(heard).reshape(length, actors, -1)
    for clock in (0, 7, length - 1):
        for actor in range(actors):
            parts = read_parts(traffic, clock, actor)
            np.testing.assert_allclose(parts.sum(axis=(0, 1)), reads[clock, actor], rtol=1e-4, atol=1e-5)


def test_what_was_erased_is_not_read():
    """One slot, written by a, then erased in full and written by b, then read."""
    write = np.ones((1, 2, 1), np.float32)
    erase = np.array([[[0.0], [1.0]]], np.float32)
    add = np.array([[[5.0], [2.0]]], np.float32)
    read = np.ones((1, 2, 1, 1), np.float32)
    steps = made_up(write=write, erase=erase, add=add, read=read)
    traffic = Traffic(steps, np.array([[0, 0]]), shared=True)
    np.testing.assert_array_equal(sources(traffic, 0, 0), [[1, 0]])
    np.testing.assert_array_equal(sources(traffic, 0, 1), [[0, 1]])


def test_shares_go_to_the_patch_and_the_writer_by_weight():
    """Two slots, each written once; the second is read three times as much and holds half as much."""
    later = np.zeros((1, 2, 2), np.float32)
    steps = made_up(
        write=np.concatenate([np.eye(2, dtype=np.float32)[None], later]),
        erase=np.zeros((2, 2, 1), np.float32),
        add=np.array([[[4.0], [-2.0]], [[9.0], [9.0]]], np.float32),
        read=np.full((2, 2, 1, 2), (0.25, 0.75), np.float32),
    )
    traffic = Traffic(steps, np.array([[0, 1], [1, 0]]), shared=True)
    np.testing.assert_allclose(sources(traffic, 0, 1), [[1 / 2.5, 0], [0, 1.5 / 2.5]])
    np.testing.assert_array_equal(sources(traffic, 0, 0), [[1, 0], [0, 0]])  # at its turn nobody else had written


def made_up(**arrays: np.ndarray) -> Steps:
    usage = np.zeros_like(arrays["write"])
    return Steps(usage=usage, turnover=np.zeros(usage.shape[:2], int), **arrays)


def test_the_traffic_of_chunks_is_that_of_one_piece(monkeypatch):
    whole = recorded("shamann")
    monkeypatch.setattr(module, "PATCHES_AT_ONCE", 6)
    pieces = recorded("shamann")
    assert whole.traffic is not None
    assert pieces.traffic is not None
    for one, other in zip(whole.traffic.steps, pieces.traffic.steps, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(whole.outputs, pieces.outputs, rtol=1e-3, atol=1e-3)


def test_actors_read_the_patches_of_their_orders():
    traffic = traffic_of("shamann", orders=("forward", "backward", "columns"))
    np.testing.assert_array_equal(traffic.patches[:, 0], np.arange(20))
    np.testing.assert_array_equal(traffic.patches[:, 1], np.arange(20)[::-1])
    np.testing.assert_array_equal(traffic.patches[:6, 2], [0, 4, 8, 12, 16, 1])  # 5 rows of 4


def test_an_untrained_network_reads_flatly_and_the_page_says_so():
    inside = looked_inside("shamann", trained=False)
    memory = inside.numbers["memory"]
    assert all(actor["evenness_of_reads"] > 0.9 for actor in memory["actors"])
    assert sum(actor["read_from_others"] for actor in memory["actors"]) / 2 == pytest.approx(0.5, abs=0.1)
    last = inside.parts[-1]
    assert isinstance(last, Table)
    assert "nearly even" in last.text
    for actor in (0, 1):
        frame = light_of(inside.parts, actor).values[-1].max(axis=-1)
        assert frame.max() < 1.5 * frame.min() / DIM  # under even light the image alone has 1 / DIM


def test_a_trained_network_s_reads_are_not_flat():
    inside = looked_inside("shamann")
    assert all(actor["evenness_of_reads"] < 0.9 for actor in inside.numbers["memory"]["actors"])
    assert "nearly even" not in inside.parts[-1].text


def test_the_exchange_of_an_untrained_network_changes_nothing_to_see():
    inside = looked_inside("shamann", trained=False)
    assert inside.numbers["answers"][0]["exchange_changes_at_most"] < LEAST_CHANGE
    change = part_of("actors", inside.parts).rows[0][2]
    assert change.top == LEAST_CHANGE
    assert change.values.max() < 0.5 * change.top


def test_cutting_the_shared_memory_changes_what_everyone_says():
    inside = looked_inside("shamann")
    for row in inside.numbers["answers"]:
        assert row["exchange_changes_at_most"] > 5 * LEAST_CHANGE
    assert [row["who"] for row in inside.numbers["answers"]] == ["all", "forward", "backward"]
    for with_exchange, cut, change in part_of("actors", inside.parts).rows:
        np.testing.assert_allclose(change.values, np.abs(with_exchange.values - cut.values), atol=1e-6)


def test_what_the_exchange_changes_is_counted_by_hand():
    one, other = np.array([[0.9, 0.2], [0.6, 0.1]]), np.array([[0.4, 0.2], [0.6, 0.1]])
    said = [Said("all", one, other, [one > 0.5, other > 0.5]), Said("forward", other, other, [other > 0.5] * 2)]
    whole, forward = answers_numbers(said)
    assert whole["exchange_changes"] == pytest.approx(0.125)
    assert whole["exchange_changes_at_most"] == pytest.approx(0.5)
    assert whole["dice_with_to_without"] == pytest.approx(2 / 3)
    assert forward["dice_to_all"] == pytest.approx(2 / 3)
    assert forward["difference_to_all"] == pytest.approx(0.125)
    nothing = [np.zeros((2, 2), bool)] * 2
    assert answers_numbers([Said("all", one, one, nothing)])[0]["dice_with_to_without"] is None


def test_cutting_the_shared_memory_changes_the_picture_of_what_is_read():
    model = network("shamann", trained=True)
    shared = explain_patch_reader(scene_of(model), lambda fraction: None)
    with exchange_cut(model):
        cut = explain_patch_reader(scene_of(model), lambda fraction: None)
    for actor in (0, 1):
        assert light_of(shared.parts, actor).sources == ("its own writes", "writes of others")
        assert light_of(shared.parts, actor).values[..., 1].max() > 0
        assert light_of(cut.parts, actor).sources == ("its own writes",)
        assert shared.numbers["memory"]["actors"][actor]["read_from_others"] > 0.1
        assert cut.numbers["memory"]["actors"][actor]["read_from_others"] == 0
    assert "exchange_changes" not in cut.numbers["answers"][0]


def test_memories_of_their_own_have_no_exchange_to_cut():
    whole, cut = recorded("bi_mann"), recorded("bi_mann", cut=True)
    torch.testing.assert_close(whole.logits, cut.logits, rtol=0, atol=0)
    torch.testing.assert_close(whole.outputs, cut.outputs, rtol=0, atol=0)


def test_a_cut_shamann_is_a_bi_mann_of_its_weights():
    shared, private = network("shamann", trained=True), network("bi_mann", trained=False)
    private.load_state_dict(shared.state_dict())
    image = scene_of(shared).image
    with exchange_cut(shared):
        cut = read_image(shared, image)
    torch.testing.assert_close(cut.logits, read_image(private, image).logits)


def test_an_actor_heard_alone_does_not_depend_on_what_another_says():
    torch.manual_seed(0)
    outputs = torch.randn(2, 1, 5, 3)
    mean = outputs.mean(dim=2, keepdim=True)
    heard = alone(outputs, 0, mean)
    torch.testing.assert_close(heard[0], outputs[0])
    assert (heard[1] == mean[1]).all()


@pytest.mark.parametrize("name", ["bi_lstm", "no_memory"])
def test_actors_without_a_memory_show_what_each_says(name):
    inside = looked_inside(name)
    assert set(inside.numbers) == {"answers"}
    titles = [picture.title for row in part_of("actors", inside.parts).rows for picture in row]
    assert titles == ["film", "all", "forward", "backward"]
    assert all(row["difference_to_all"] > 0 for row in inside.numbers["answers"][1:])


def test_the_only_actor_says_what_all_say():
    said, _ = listen(scene_of(network("no_memory", trained=True, orders=("forward",))), ["forward"])
    np.testing.assert_array_equal(said[0].answer, said[1].answer)


def test_slot_turnover_begins_when_the_slots_are_used_up():
    """Twenty patches, two actors: forty writes to thirty slots, an empty one taken while there is one."""
    model = network("shamann", trained=False, slots=30)
    with torch.no_grad():
        for interface in interfaces(model):
            interface.weight.zero_()
            interface.bias[-5] = -9  # content gate: writes go to the least used slot
    inside = explain_patch_reader(scene_of(model), lambda fraction: None)
    memory = inside.numbers["memory"]
    assert memory["slots_in_use"] == [[*range(2, 31, 2), *[30] * 5]]
    assert memory["turnover"] == [[*[0] * 15, 2, 4, 6, 8, 10]]
    assert [actor["writes_to_used_slots"] for actor in memory["actors"]] == [5, 5]
    names = part_of("memory", inside.parts).steps
    assert names[0] == "clock 0: forward → slot 0, new; backward → slot 1, new"
    assert names[15] == "clock 15: forward → slot 0, again; backward → slot 1, again"


def test_memories_of_their_own_count_their_own_turnover():
    again = writes_again(traffic_of("bi_mann", slots=12))
    traffic = traffic_of("bi_mann", slots=12)
    np.testing.assert_array_equal(again.sum(axis=0), traffic.steps.turnover[-1])


def test_evenness_is_1_for_a_mean_and_0_for_one_slot():
    even, sharp = np.full((2, 8), 1 / 8), np.eye(8)[:2]
    np.testing.assert_allclose(evenness(np.stack([even, sharp])), [1, 0], atol=1e-9)
    halves = np.zeros((1, 4))
    halves[:, :2] = 0.5
    assert evenness(halves) == pytest.approx(0.5)  # 1 of 2 bits
    assert evenness(np.ones((3, 1))) == 1


def test_the_slider_has_all_clocks_of_a_short_sequence_and_sixty_of_a_long_one():
    assert chosen_clocks(49, [3]) == list(range(49))
    chosen = chosen_clocks(169, [4, 164])
    assert len(chosen) == MOST_CLOCKS
    assert chosen == sorted(set(chosen))
    assert {4, 164} <= set(chosen)
    assert max(np.diff(chosen)) <= 6


def test_a_patch_s_footprint_lies_where_it_was_cut():
    grid = PatchGrid((20, 16), (8, 8), (4, 4))  # 5 rows of 4, two zeros in front
    covered = footprint(grid, [0, 6])
    expected = np.zeros((20, 16), bool)
    expected[:6, :6] = expected[2:10, 6:14] = True
    np.testing.assert_array_equal(covered, expected)
    assert patch_of(grid, (5, 9)) == 6
    assert patch_of(grid, (19, 15)) == 19


def test_pictures_of_many_slots_lose_no_write():
    values = np.zeros((300, 400))
    values[np.arange(300), np.arange(300) + 50] = 1
    picture = slots_by_clocks("", values, [0, 299], top=1)
    assert max(picture.values.shape) <= 134
    assert (picture.values[0].max(axis=0) == 1).all()
    assert picture.bound is not None
    assert picture.bound.sum() == 2 * picture.values.shape[1]


def test_actors_of_one_order_are_told_apart_by_numbers():
    assert actor_names(["forward", "columns_backward", "forward"]) == ["forward 1", "columns backward", "forward 2"]


def test_volumes_and_four_actors_are_drawn_too():
    inside = looked_inside("shamann", shape=(8, 12, 8), orders=("forward", "backward", "snake", "spiral"))
    part = part_of("memory", inside.parts)
    assert all(len(row) <= 3 for row in part.rows)
    assert "all sections" in part.text
    assert light_of(inside.parts, 0).values.shape == (12, 12, 8, 2)
    for picture in (picture for row in part.rows for picture in row):
        assert np.isfinite(picture.values).all()
        assert picture.bound is not None
        assert len(picture.bound) == len(part.steps)


def test_a_completed_image_is_drawn_as_an_image():
    model = network("shamann", trained=True, task="regression")
    inside = explain_patch_reader(scene_of(model), lambda fraction: None)
    assert part_of("actors", inside.parts).rows[0][0].colours == "grey"
    assert inside.numbers["answers"][0]["dice_to_all"] is None


@pytest.mark.parametrize("name", ["shamann", "bi_mann", "bi_lstm", "no_memory"])
def test_the_command_writes_a_page_with_a_slider_over_clocks(name, tmp_path: Path, capsys):
    from PIL import Image

    from recurseg.cli.main import main
    from recurseg.inference import PackageSpec, save_package
    from recurseg.preprocess import Preprocessing

    memory = MEMORY if name in ("shamann", "bi_mann") else {}
    spec = PackageSpec(
        model=name,
        options={"patch": 8, "stride": 4, "widths": [4, 4], "cell": 8, **memory},
        in_channels=1,
        num_classes=2,
        modalities=["image"],
        class_names=["background", "lung"],
        preprocessing=Preprocessing(),
        window=(20, 16),
    )
    save_package(tmp_path / "package", network(name, trained=True), spec)
    film = np.random.default_rng(0).integers(0, 255, (20, 16), dtype=np.uint8)
    Image.fromarray(film).save(tmp_path / "film.png")
    out = tmp_path / "why"
    arguments = ["explain", tmp_path / "package", tmp_path / "film.png", "--out", out, "--voxel", "6,6"]
    assert main([str(argument) for argument in arguments]) == 0
    numbers = json.loads((out / "explain.json").read_text())
    assert numbers["figures"] == ["context.png", "actors.png", *(["memory.png"] if memory else [])]
    page = (out / "explain.html").read_text()
    assert "What each actor says" in page
    assert page.count("<input id=") == bool(memory)
    if memory:
        assert page.count("clock 5: forward → slot") >= 2  # the patch of the voxel is read at clock 5
        assert "no explainer" not in capsys.readouterr().err


@pytest.mark.parametrize("voxel", [[], ["--voxel", "6,6"]], ids=["chosen", "given"])
def test_the_command_explains_a_completed_image(voxel, tmp_path: Path, capsys):
    from PIL import Image

    from recurseg.cli.main import main
    from recurseg.inference import PackageSpec, save_package
    from recurseg.preprocess import Preprocessing

    spec = PackageSpec(
        task="regression",
        model="no_memory",
        options={"patch": 8, "stride": 4, "widths": [4, 4], "cell": 8, "task": "regression"},
        in_channels=1,
        num_classes=1,
        modalities=["image"],
        preprocessing=Preprocessing(),
        window=(20, 16),
    )
    model = create_model("no_memory", in_channels=1, num_classes=1, **spec.options)
    save_package(tmp_path / "package", model, spec)
    digit = np.random.default_rng(0).integers(0, 255, (20, 16), dtype=np.uint8)
    Image.fromarray(digit).save(tmp_path / "digit.png")
    arguments = ["explain", tmp_path / "package", tmp_path / "digit.png", "--out", tmp_path / "why", *voxel, "--json"]
    assert main([str(argument) for argument in arguments]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert {"value", "answers"} <= set(numbers)
    assert not {"class", "probability", "logit"} & set(numbers)
    assert numbers["gradient"]["largest"] > 0
    assert ("changes most" in " ".join(numbers["notes"])) == (not voxel)
