"""A look inside networks that read slices: what modalities add, what neighbours bring, what is lost without."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recurseg.explain import Inside, Part, Scene, Table
from recurseg.explain.fusion import fusion_levels
from recurseg.explain.neighbour_views import bars_of
from recurseg.explain.neighbours import look_around, memory_cut, network_of, read, sequence_maps, slice_logits
from recurseg.explain.slice_reader import explain_slice_reader
from recurseg.explain.without import Answer, answer_without, answer_without_memory, without_numbers, without_table
from recurseg.layers.conv_lstm import ConvLSTM
from recurseg.layers.cross_modality import CrossModalityConvolution
from recurseg.models import create_model
from recurseg.models.cross_modality import CrossModality

MODALITIES = ["FLAIR", "T1", "T1c", "T2"]
OWN = 4
READERS = {
    "convlstm": ("cross_modality", {"widths": (4, 4, 4)}),
    "seq2seq": ("cross_modality", {"widths": (4, 4, 4), "preset": "ref"}),
    "bidirectional": ("cross_modality", {"widths": (4, 4, 4), "sequence": "bidirectional"}),
    "stacked": ("cross_modality", {"widths": (4, 4, 4), "stacked": True}),
    "no mrf": ("cross_modality", {"widths": (4, 4, 4), "mrf": "off", "cmc": "scalar"}),
    "encoder_decoder": ("encoder_decoder", {"widths": (4, 4, 4), "sequence": "convlstm"}),
    "k_unet": ("k_unet", {"widths": (4, 6), "hidden": 3}),
}
"""Networks with a sequence model."""


def network(name: str, *, seen: int = 1, **options) -> nn.Module:
    """A small one whose batch norms have seen something, so many times."""
    torch.manual_seed(0)
    model = create_model(name, in_channels=len(MODALITIES), num_classes=3, **options)
    with torch.no_grad():
        for _ in range(seen):
            model(volume())
    return model.eval()


def volume(shape: tuple[int, ...] = (7, 20, 25)) -> torch.Tensor:
    return torch.randn(1, len(MODALITIES), *shape, generator=torch.Generator().manual_seed(1))


def scene_of(model: nn.Module, *, absent: tuple[str, ...] = (), shape: tuple[int, ...] = (7, 20, 25)) -> Scene:
    present = torch.tensor([[name not in absent for name in MODALITIES]])
    voxel = (min(OWN, shape[0] - 1), 11, 9)
    return Scene(
        model=model,
        image=volume(shape).where(present[..., None, None, None], 0),
        voxel=voxel,
        target=1,
        class_names=["background", "edema", "core"],
        modalities=MODALITIES,
        spacing=(3.0, 1.0, 1.0),
        planes=tuple([f"plane {index}" for index in range(size)] for size in shape),
        stored=voxel,
        whole=shape,
        present=present if absent else None,
    )


def reader(which: str) -> Scene:
    name, options = READERS[which]
    return scene_of(network(name, **options))


def fusions(model: CrossModality) -> list[CrossModalityConvolution]:
    return [fusion for fusion in model.fusions if isinstance(fusion, CrossModalityConvolution)]


def looked_inside(scene: Scene) -> Inside:
    return explain_slice_reader(scene, lambda fraction: None)


def named(inside: Inside) -> dict[str, Part]:
    return {part.name: part for part in inside.parts if isinstance(part, Part)}


def titles(inside: Inside) -> list[str]:
    return [part.title for part in inside.parts]


@pytest.mark.parametrize("which", READERS)
def test_looking_on_changes_nothing(which):
    scene = reader(which)
    with torch.no_grad():
        expected = scene.model(scene.image)
        said = slice_logits(scene, read(network_of(scene).sequence, sequence_maps(scene)))
    torch.testing.assert_close(said, expected[0, 1, OWN], rtol=1e-4, atol=1e-4)
    looked_inside(scene)
    with torch.no_grad():
        torch.testing.assert_close(scene.model(scene.image), expected, rtol=0, atol=0)


@pytest.mark.parametrize("which", READERS)
def test_without_memory_each_slice_is_what_it_is_as_a_volume_of_its_own(which):
    scene = reader(which)
    with torch.no_grad():
        expected = torch.cat([scene.model(scene.image[:, :, z : z + 1]) for z in range(7)], dim=2)
        whole = scene.model(scene.image)
        with memory_cut(scene):
            cut = scene.model(scene.image)
    torch.testing.assert_close(cut, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(cut, whole, atol=1e-4)


@pytest.mark.parametrize("which", READERS)
def test_what_a_neighbour_brings_is_what_the_network_says_with_and_without_its_map(which):
    scene = reader(which)
    found = look_around(scene)
    maps: list[torch.Tensor] = []

    def keep(sequence, given):
        given[0].retain_grad()
        maps.append(given[0])

    hook = network_of(scene).sequence.register_forward_pre_hook(keep)
    logits = scene.model(scene.image)
    hook.remove()
    logits[0, 1, OWN, 11, 9].backward()
    assert maps[0].grad is not None
    gradient = maps[0].grad[0].norm(dim=0)
    rows, columns = found.gradient.shape[1:]
    np.testing.assert_allclose(found.gradient, gradient[:, :rows, :columns], rtol=1e-3, atol=1e-6)

    for index in (OWN - 1, OWN):

        def flatten(sequence, given, index=index):
            flat = given[0].clone()
            flat[:, :, index] = flat.mean(dim=(2, 3, 4))[..., None, None]
            return (flat, *given[1:])

        hook = network_of(scene).sequence.register_forward_pre_hook(flatten)
        with torch.no_grad():
            changed = scene.model(scene.image)
        hook.remove()
        expected = (changed - logits)[0, 1, OWN].abs().detach()
        np.testing.assert_allclose(found.changes[index], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("which", "heard"),
    [
        ("convlstm", range(5)),  # the first slice to the voxel's own
        ("encoder_decoder", range(5)),
        ("seq2seq", range(3, 6)),  # its group of three
        ("bidirectional", range(7)),
        ("k_unet", range(7)),
    ],
)
def test_a_slice_hears_the_slices_that_the_sequence_model_has_read(which, heard):
    inside = looked_inside(reader(which))
    brings = {one["offset"] + OWN for one in inside.numbers["neighbours"] if one["logit_changes"] > 0}
    felt = {one["offset"] + OWN for one in inside.numbers["neighbours"] if one["share_of_gradient"] > 0}
    assert brings == felt == set(heard)
    assert sum(one["share_of_gradient"] for one in inside.numbers["neighbours"]) == pytest.approx(1)
    part = named(inside)["neighbours"]
    assert part.steps[part.start] == f"plane {OWN}, offset 0"
    assert part.steps[0] == f"plane 0, offset −{OWN}"
    change = part.rows[0][2]
    assert {index for index, frame in enumerate(change.values) if frame.any()} == set(heard)


@pytest.mark.parametrize("which", ["convlstm", "bidirectional", "k_unet"])
def test_with_the_recurrence_cut_a_slice_takes_nothing_from_its_neighbours(which):
    scene = reader(which)
    with torch.no_grad():
        for part in scene.model.modules():
            if isinstance(part, ConvLSTM):
                part.weight_h.zero_()
    remembered = looked_inside(scene).numbers["neighbours"][OWN - 1]
    assert remembered["logit_changes"] > 0  # the cell remembers by itself
    with torch.no_grad():
        for part in scene.model.modules():
            if isinstance(part, ConvLSTM):
                forget = slice(part.width, 2 * part.width)
                part.weight_x[forget] = 0
                part.bias[forget] = -200
    inside = looked_inside(scene)
    part = named(inside)["neighbours"]
    for index, one in enumerate(inside.numbers["neighbours"]):
        assert (one["logit_changes"] > 0) == (index == OWN)
        assert part.rows[0][1].values[index].any() == (index == OWN)
        assert part.rows[0][2].values[index].any() == (index == OWN)
    memory = inside.numbers["without"][0]
    assert memory["without"] == "memory"
    assert memory["change_at_most"] == pytest.approx(0, abs=1e-6)
    assert memory["other_class"] == 0


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (("cross_modality", {"widths": (4, 4), "sequence": "off"}), (7, 20, 25)),
        (("encoder_decoder", {"widths": (4, 4)}), (7, 20, 25)),
        (("cross_modality", {"widths": (4, 4)}), (1, 20, 25)),
    ],
    ids=["off", "encoder_decoder", "a single slice"],
)
def test_where_slices_know_nothing_of_one_another_the_page_says_so(model, shape):
    inside = looked_inside(scene_of(network(model[0], **model[1]), shape=shape))
    table = next(part for part in inside.parts if part.title == "What the slice takes from its neighbours")
    assert isinstance(table, Table)
    assert "slices know nothing of one another" in table.text
    assert inside.numbers["neighbours"] == []
    assert [one["without"] for one in inside.numbers["without"]] == MODALITIES
    assert not {"neighbours", "without_memory"} & set(named(inside))


@pytest.mark.parametrize("cmc", ["dense", "depthwise", "scalar"])
@pytest.mark.parametrize("absent", [(), ("T1c",)], ids=["all there", "one absent"])
def test_what_a_modality_adds_is_the_fused_map_of_a_network_that_ignores_the_others(cmc, absent):
    scene = scene_of(network("cross_modality", widths=(4, 4, 4), cmc=cmc), absent=absent)
    levels = fusion_levels(scene)
    assert [level.step for level in levels] == [2, 4, 8]
    model = scene.model
    assert isinstance(model, CrossModality)
    with torch.no_grad():
        for fusion in fusions(model):
            fusion.weight[[0, 2, 3]] = 0
            if fusion.bias is not None:
                fusion.bias.zero_()
        slices = nn.functional.pad(scene.image[0].transpose(0, 1), (0, 7, 0, 4), mode="replicate")
        fused = model.maps(slices, None if scene.present is None else scene.present.expand(7, -1))
    for level, expected in zip(levels, fused, strict=True):
        rows, columns = level.terms.shape[2:]
        assert (rows, columns) == (-(-20 // level.step), -(-25 // level.step))
        expected = expected.norm(dim=1)[:, :rows, :columns]
        np.testing.assert_allclose(level.terms[1], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("preset", ["paper", "ref"])
def test_modalities_share_the_fusion_of_an_untrained_network_about_evenly(preset):
    inside = looked_inside(scene_of(network("cross_modality", seen=30, widths=(16, 16, 16), preset=preset)))
    assert len(inside.numbers["fusion"]) == 3
    for level in inside.numbers["fusion"]:
        assert list(level["weights"]) == MODALITIES
        for kind in ("weights", "added"):
            assert sum(level[kind].values()) == pytest.approx(1)
            assert all(0.2 < share < 0.32 for share in level[kind].values())


def test_the_finest_map_of_the_published_code_has_full_resolution():
    inside = looked_inside(scene_of(network("cross_modality", widths=(4, 4, 4), preset="ref")))
    assert [level["resolution"] for level in inside.numbers["fusion"]] == [1, 2, 4]
    table = next(part for part in inside.parts if part.title == "Fusion in numbers")
    assert isinstance(table, Table)
    assert table.columns[2:] == ["full resolution", "1/2", "1/4"]


def test_a_modality_without_weights_adds_nothing_and_without_it_the_others_are_scaled_up():
    scene = scene_of(network("cross_modality", widths=(4, 4, 4)))
    model = scene.model
    assert isinstance(model, CrossModality)
    with torch.no_grad():
        for fusion in fusions(model):
            fusion.weight[2] = 0
    inside = looked_inside(scene)
    for level in inside.numbers["fusion"]:
        assert {level[kind]["T1c"] for kind in ("weights", "added", "added_at_voxel")} == {0}
    assert "scales up what is left" in named(inside)["without_modalities"].text
    less = answer_without(scene, 2)
    with torch.no_grad():
        for fusion in fusions(model):
            fusion.weight.mul_(4 / 3)
        scaled = model(scene.image)
    assert less.logit == pytest.approx(float(scene.logit(scaled)), rel=1e-4, abs=1e-4)


def test_a_stacked_network_that_ignores_a_modality_says_the_same_without_it():
    scene = scene_of(network("cross_modality", widths=(4, 4, 4), stacked=True))
    model = scene.model
    assert isinstance(model, CrossModality)
    first = next(part for part in model.encoders.modules() if isinstance(part, nn.Conv2d))
    with torch.no_grad():
        first.weight[:, 2] = 0
    inside = looked_inside(scene)
    assert "fusion" not in inside.numbers
    assert "Fusion in numbers" not in titles(inside)
    numbers = {one["without"]: one for one in inside.numbers["without"]}
    assert list(numbers) == ["memory", *MODALITIES]
    assert numbers["T1c"]["change_at_most"] == 0
    assert numbers["T1c"]["other_class"] == 0
    assert {numbers["T1c"]["dice"][name] for name in ("edema", "core")} <= {1, None}
    assert all(numbers[name]["change_at_most"] > 0 for name in ("FLAIR", "T1", "T2"))


def test_a_network_that_needs_every_modality_is_asked_for_its_memory_alone():
    inside = looked_inside(reader("k_unet"))
    assert [one["without"] for one in inside.numbers["without"]] == ["memory"]
    assert set(named(inside)) == {"neighbours", "without_memory"}


def test_an_absent_modality_is_said_to_be_absent_and_is_not_withheld_again():
    inside = looked_inside(scene_of(network("cross_modality", widths=(4, 4, 4)), absent=("T1",)))
    for level in inside.numbers["fusion"]:
        assert level["added"]["T1"] is None
        assert level["added_at_voxel"]["T1"] is None
        assert level["weights"]["T1"] > 0
        assert sum(share for share in level["added"].values() if share is not None) == pytest.approx(1)
    assert [one["without"] for one in inside.numbers["without"]] == ["memory", "FLAIR", "T1c", "T2"]
    part = named(inside)["fusion"]
    assert "T1: absent" in part.text
    assert [picture.title for picture in part.rows[0]] == ["FLAIR", "T1: absent", "T1c", "T2"]
    assert part.rows[1][0].sources == ("FLAIR", "T1c", "T2")
    assert part.rows[2][1].title == "T1 at 1/2: absent"
    assert not part.rows[2][1].values.any()


def test_the_only_modality_of_a_case_is_not_withheld():
    scene = scene_of(network("cross_modality", widths=(4, 4)), absent=("FLAIR", "T1", "T2"))
    inside = looked_inside(scene)
    assert [one["without"] for one in inside.numbers["without"]] == ["memory"]
    assert inside.numbers["fusion"][0]["added"]["T1c"] == pytest.approx(1)


def test_every_slider_starts_at_the_voxel_s_slice():
    inside = looked_inside(reader("convlstm"))
    assert list(named(inside)) == ["fusion", "neighbours", "without_memory", "without_modalities"]
    for part in named(inside).values():
        assert part.steps[part.start].startswith(f"plane {OWN}")
        for picture in (picture for row in part.rows for picture in row):
            assert len(picture.values) in (1, len(part.steps))
            assert picture.mark_step in (None, part.start)
            assert np.isfinite(picture.values).all()


def test_answers_are_compared_as_by_hand():
    scene = scene_of(network("cross_modality", widths=(4,)), shape=(1, 12, 10))
    shape = (1, 12, 10)
    whole = Answer("", np.full(shape, 0.5, np.float32), np.zeros(shape, int), 0.0)
    whole.labels[0, 0, :4] = 1
    less = Answer("T1", whole.probability.copy(), whole.labels.copy(), -1.0)
    less.probability[0, 11, 9] = 0.25
    less.labels[0, 0, :2] = 0  # 2 of 4: Dice 2·2 / (4 + 2)
    (numbers,) = without_numbers(scene, whole, [less])
    assert numbers["dice"] == {"edema": pytest.approx(2 / 3), "core": None}
    assert numbers["change_at_most"] == 0.25
    assert numbers["change"] == pytest.approx(0.25 / 120)
    assert numbers["change_by_section"] == [pytest.approx(0.25 / 120)]
    assert numbers["other_class"] == pytest.approx(2 / 120)
    assert (numbers["probability"], numbers["class"]) == (0.25, "background")
    table = without_table(scene, whole, [numbers])
    assert table.columns[-1] == "Dice edema"  # neither has any core
    assert table.rows[0][-1] == "0.667"


def test_bars_are_as_tall_as_their_values_and_the_own_one_is_cut_off():
    picture = bars_of("", [0.0, 1.0, 5.0, 2.0], own=2)
    columns = picture.values[0]
    assert columns.shape == (60, 12)
    heights = [(columns[:, 3 * n] > 0).sum() for n in range(4)]
    assert heights == [0, 30, 60, 60]
    assert not columns[:, 2::3].any()
    assert columns[59, 6] == 1
    assert picture.bound is not None
    assert picture.bound[3].any(axis=0).nonzero()[0].tolist() == [9, 10, 11]


def test_memory_that_is_cut_comes_back():
    scene = reader("convlstm")
    with torch.no_grad():
        before = scene.model(scene.image)
        answer_without_memory(scene)
        torch.testing.assert_close(scene.model(scene.image), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "missing"), [("cross_modality", True), ("k_unet", False), ("k_unet", True)], ids=str
)
def test_the_command_writes_a_page_with_its_numbers(name, missing, tmp_path: Path, capsys):
    from recurseg.cli.main import main
    from recurseg.inference import PackageSpec, save_package
    from recurseg.preprocess import Preprocessing

    data, out = tmp_path / "data", tmp_path / "why"
    assert main(["phantom", "brain_tumour", str(data), "--cases", "2", "--size", "8x32x32"]) == 0
    if missing:
        manifest = (data / "dataset.yaml").read_text().splitlines(keepends=True)
        gone = next(line for line in manifest if "case_001_t1ce" in line)
        (data / "dataset.yaml").write_text("".join(line for line in manifest if line != gone))
        next(data.rglob("case_001_t1ce*")).unlink()
    options = {"widths": [4, 4], "dropout": 0.0} if name == "k_unet" else {"widths": [4, 4], "sequence": "convlstm"}
    spec = PackageSpec(
        model=name,
        options=options,
        in_channels=4,
        num_classes=5,
        modalities=MODALITIES,
        class_names=["background", "necrosis", "edema", "non-enhancing", "enhancing"],
        preprocessing=Preprocessing(),
        window=(8, 32, 32),
    )
    torch.manual_seed(0)
    model = create_model(name, in_channels=4, num_classes=5, **options)
    save_package(tmp_path / "package", model, spec)
    capsys.readouterr()
    status = main(["explain", str(tmp_path / "package"), str(data / "case_001"), "--out", str(out)])
    printed = capsys.readouterr().err
    if name == "k_unet" and missing:
        assert status == 3
        assert "no image of modality T1c" in printed
        return
    assert status == 0
    assert ("The case has no T1c" in printed) == missing
    numbers = json.loads((out / "explain.json").read_text())
    figures = ["context.png", "context_sections.png"]
    figures += ["fusion.png"] * (name == "cross_modality") + ["neighbours.png", "without_memory.png"]
    assert numbers["figures"] == figures + ["without_modalities.png"] * (name != "k_unet")
    assert len(numbers["neighbours"]) == 8
    page = (out / "explain.html").read_text()
    assert "What the slice takes from its neighbours" in page
    assert ("T1c: absent" in page) == missing
    assert page.count("<input id=") == len(figures) - 1 + (name != "k_unet")
