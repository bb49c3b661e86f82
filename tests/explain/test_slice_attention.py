"""A look inside slice attention: which slices heed which, where information came from, what is lost without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recurseg.data.case import Volume
from recurseg.explain import Inside, Part, Scene, Table
from recurseg.explain.coordinates import anatomy_of
from recurseg.explain.non_local import attended, explain_non_local, non_local_blocks
from recurseg.explain.rsanet import ATTENTION, answers_without, explain_rsanet, logits_without
from recurseg.explain.slice_attention import Heard, blocks_of, contributions, hear_all, listen
from recurseg.layers.slice_attention import RSABlock
from recurseg.models import create_model
from recurseg.preprocess import Geometry
from recurseg.preprocess.orientation import orientation_of

SMALL = {"in_channels": 2, "num_classes": 3, "widths": (4, 8, 12), "groups": 4}
VOXEL = (4, 3, 7)
AXES = ("axial", "coronal", "sagittal")


def network(placement: str | Sequence[str] = "101", *, alpha: float = 0.3, **options) -> nn.Module:
    """A small one whose slices hear each other as if it had been trained, and choose less than at random weights."""
    torch.manual_seed(0)
    model = create_model("rsanet", **SMALL | {"order": (2, 1, 0)} | options, placement=placement).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("alpha"):
                parameter.copy_(alpha * torch.tensor([1.0, -2.0, 1.5, 1.0])[: len(parameter)])
            if "attention" in key and parameter.ndim == 3:
                parameter[:2] *= 0.3
    return model


def scene_of(model: nn.Module, *, shape: tuple[int, ...] = (6, 9, 11)) -> Scene:
    voxel = tuple(min(place, size - 1) for place, size in zip(VOXEL, shape, strict=True))
    return Scene(
        model=model,
        image=torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(1)),
        voxel=voxel,
        target=1,
        class_names=["background", "lesion", "spot"],
        modalities=["FLAIR", "T1"],
        spacing=(3.0, 0.7, 0.7),
        planes=tuple([f"plane {index}" for index in range(size)] for size in shape),
        stored=voxel,
        whole=shape,
        anatomy=AXES,
    )


def looked_inside(scene: Scene) -> Inside:
    return explain_rsanet(scene, lambda fraction: None)


def named(inside: Inside) -> dict[str, Part]:
    return {part.name: part for part in inside.parts if isinstance(part, Part)}


def said_by(scene: Scene, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What the block after `name` is given and what it says, `(C, *positions)` with padding."""
    found = []

    def record(block, given, said):
        found.append((given[0][0], said[0]))

    hook = blocks_of(scene)[name].register_forward_hook(record)
    with torch.no_grad():
        scene.model(scene.image)
    hook.remove()
    return found[0]


def along(axis: int, maps: torch.Tensor) -> torch.Tensor:
    return maps.movedim(1 + axis, 0).flatten(1)


@pytest.mark.parametrize("placement", ["010", "101", "111", ["encoder0"], ["decoder0", "bottom"]])
def test_looking_on_changes_nothing(placement):
    scene = scene_of(network(placement))
    with torch.no_grad():
        expected = scene.model(scene.image)
    parameters = [parameter.clone() for parameter in scene.model.parameters()]
    looked_inside(scene)
    with torch.no_grad():
        torch.testing.assert_close(scene.model(scene.image), expected, rtol=0, atol=0)
    assert not any(module._forward_hooks for module in scene.model.modules())
    for before, after in zip(parameters, scene.model.parameters(), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)


def test_attention_is_that_of_equation_1_among_slices_that_are_no_padding():
    scene = scene_of(network("101"))
    found = {one.block: one for one in listen(scene)}
    assert list(found) == ["encoder1", "decoder1"]
    one, block = found["decoder1"], blocks_of(scene)["decoder1"]
    maps, _ = said_by(scene, "decoder1")
    maps = maps[:, :3, :5, :6]  # of 6 × 9 × 11 voxels, the rest is padding
    for direction, k in zip(one.directions, range(3), strict=True):
        theta, phi, g = (
            torch.einsum("oc,cdhw->odhw", weight, maps) + bias[:, None, None, None]
            for weight, bias in zip(block.weight, block.bias, strict=True)
        )
        expected = (along(direction.axis, theta) @ along(direction.axis, phi).T).softmax(dim=1)
        np.testing.assert_allclose(direction.attention, expected.detach(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(direction.attention.sum(axis=1), 1, rtol=1e-5)
        heard = block.alpha[k] * (expected @ along(direction.axis, g))
        added = heard.unflatten(1, (8, *(n for a, n in enumerate((3, 5, 6)) if a != direction.axis)))
        added = added.movedim(0, 1 + direction.axis)
        assert direction.added == pytest.approx(float((added.norm() / maps.norm()).detach()), rel=1e-3)
        maps = maps + added
    assert [direction.name for direction in one.directions] == ["sagittal", "coronal", "axial"]
    assert [direction.own for direction in one.directions] == [3, 1, 2]


def by_hand(values: torch.Tensor) -> Heard:
    """Two slices along each axis, the first of which hears three quarters of itself and one of the other."""
    block = RSABlock(len(values), order=(2, 1, 0))
    with torch.no_grad():
        block.weight[2] = torch.eye(len(values))
        block.bias.zero_()
        block.alpha.copy_(torch.tensor([0.5, 1.0, 2.0]))
    attention = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    return Heard(block, values, [attention] * 3, values[None])


def test_information_reaches_a_voxel_as_worked_out_by_hand():
    heard = by_hand(torch.ones(1, 2, 2, 2))
    with torch.no_grad():
        brought = contributions(heard, heard.maps, (0, 0, 0))[0]
    # sagittal (last axis) 0.5, coronal 1, axial (first axis) 2; itself: 1 + α · 0.75, the other slice: α · 0.25
    itself, other = [2.5, 1.75, 1.375], [0.5, 0.25, 0.125]
    for place in np.ndindex(2, 2, 2):
        expected = np.prod([other[a] if place[a] else itself[a] for a in range(3)])
        assert float(brought[place]) == pytest.approx(expected)


def test_a_position_that_holds_nothing_contributes_nothing_and_the_rest_stays():
    values = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    heard = by_hand(values)
    nn.init.normal_(heard.block.weight)
    gone = values.clone()
    gone[:, 1, 0, 1] = 0
    with torch.no_grad():
        whole, less = (contributions(heard, maps, (0, 1, 1)) for maps in (values, gone))
    assert not less[:, 1, 0, 1].any()
    less[:, 1, 0, 1] = whole[:, 1, 0, 1]
    torch.testing.assert_close(less, whole)


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0), (0, 2, 0, 1)], ids=["forward", "backward", "an axis twice"])
@pytest.mark.parametrize("name", ["encoder1", "bottom", "decoder1"])
def test_contributions_add_up_to_what_the_block_says_at_the_voxel(name, order):
    scene = scene_of(network("111", order=order))
    heard, (_, said) = hear_all(scene, scene.image)[1][name], said_by(scene, name)
    step = 4 if name == "bottom" else 2
    at = tuple(index // step for index in scene.voxel)
    with torch.no_grad():
        brought = contributions(heard, heard.maps, at)
    assert brought.shape[1:] == ((2, 3, 3) if step == 4 else (3, 5, 6))
    torch.testing.assert_close(brought.sum(dim=(1, 2, 3)), said[(slice(None), *at)], rtol=1e-4, atol=1e-4)
    (one,) = [one for one in listen(scene) if one.block == name]
    np.testing.assert_allclose(one.origins[0], brought.norm(dim=0), rtol=1e-4, atol=1e-6)


def test_the_last_direction_brings_a_line_the_one_before_a_plane_and_all_the_whole_volume():
    scene = scene_of(network("101"))
    for one in listen(scene):
        h, w = (index // 2 for index in scene.voxel[1:])
        volume, plane, line = (terms > 0 for terms in one.origins)
        assert volume.all()
        assert plane[:, :, w].all()
        assert plane.sum() == plane.shape[0] * plane.shape[1]
        assert line[:, h, w].all()
        assert line.sum() == line.shape[0]


@pytest.mark.parametrize("k", [0, 1, 2], ids=["sagittal", "coronal", "axial"])
def test_with_a_direction_cut_nothing_comes_from_other_slices_along_it(k):
    scene = scene_of(network("101"))
    before = looked_inside(scene)
    with torch.no_grad():
        for block in blocks_of(scene).values():
            block.alpha[k] = 0
    after = looked_inside(scene)
    for one in listen(scene):
        direction = one.directions[k]
        others = np.delete(one.origins[0], direction.own, axis=direction.axis)
        assert not others.any()
        assert one.origins[0].take(direction.own, axis=direction.axis).all()
        assert direction.added == 0
        rows = [named(inside)[f"heard_{one.block}"].rows[0] for inside in (before, after)]
        then, now = (row[1].values for row in rows)  # in the light of what is heard
        assert not np.allclose(then, now)
    for now, then in zip(
        *(named(inside)["through_attention"].rows[0][1:] for inside in (before, after)), strict=True
    ):
        assert not np.allclose(now.values, then.values)
    whole = scene.logit(scene.model(scene.image)).item()
    for block in after.numbers["attention"]:
        assert block["directions"][k]["logit_without"] == pytest.approx(whole, abs=1e-5)
        assert block["directions"][k]["logit_change"] == pytest.approx(0, abs=1e-5)
        assert block["share_by_axes_apart"][3] == 0
    assert after.numbers["without"][k]["change_at_most"] == pytest.approx(0, abs=1e-6)
    assert before.numbers["without"][k]["change_at_most"] > 1e-3
    cut = before.numbers["without"][k]
    assert cut["logit"] == pytest.approx(whole, abs=1e-4)
    assert cut["without"] == ["sagittal", "coronal", "axial"][k]


@pytest.mark.parametrize("placement", ["010", "111"])
def test_answers_without_are_those_of_networks_whose_alpha_is_0(placement):
    scene = scene_of(network(placement))
    blocks = list(blocks_of(scene))
    logits, answers = logits_without(scene), answers_without(scene)
    assert list(logits) == blocks
    names = ["sagittal", "coronal", "axial", ATTENTION]
    if len(blocks) > 1:
        names += [f"attention after {name}" for name in blocks]
    assert [one.without for one in answers] == names

    def logit_with(name: str, place: int | slice) -> float:
        model = network(placement)
        with torch.no_grad():
            for block, rsa in blocks_of(replace(scene, model=model)).items():
                if name in (block, "all"):
                    rsa.alpha[place] = 0
            return scene.logit(model(scene.image)).item()

    for k, answer in zip((0, 1, 2, slice(None)), answers, strict=False):
        assert answer.logit == pytest.approx(logit_with("all", k), abs=1e-5)
        for name in blocks:
            assert logits[name][3 if isinstance(k, slice) else k] == pytest.approx(logit_with(name, k), abs=1e-5)


def test_without_attention_the_plain_network_is_left():
    scene = scene_of(network("111"))
    plain = create_model("unet3d", **SMALL).eval()
    weights = {key: value for key, value in scene.model.state_dict().items() if "attention" not in key}
    plain.load_state_dict(weights)
    with torch.no_grad():
        expected = plain(scene.image)
    answer = next(one for one in answers_without(scene) if one.without == ATTENTION)
    assert answer.logit == pytest.approx(scene.logit(expected).item(), abs=1e-4)
    np.testing.assert_array_equal(answer.labels, expected[0].argmax(0))


@pytest.mark.parametrize("name", ["encoder1", "decoder1"])
def test_the_gradient_through_what_is_heard_is_the_whole_one_less_what_is_handed_on(name):
    """Where every slice heeds all alike, whatever they hold, so that attention itself has no gradient."""
    scene = scene_of(network("101"))
    block = blocks_of(scene)[name]
    with torch.no_grad():
        block.weight[:2] = 0
        block.bias[:2] = 0

    def gradient(image: torch.Tensor) -> torch.Tensor:
        image = image.clone().requires_grad_()
        (found,) = torch.autograd.grad(scene.logit(scene.model(image)), image)
        return found[0]

    whole = gradient(scene.image)
    hook = block.register_forward_hook(lambda block, given, said: given[0] + (said - given[0]).detach())
    handed_on = gradient(scene.image)
    hook.remove()
    (one,) = [one for one in listen(scene) if one.block == name]
    expected = (whole - handed_on).abs().sum(dim=0)
    np.testing.assert_allclose(one.through, expected, rtol=1e-3, atol=1e-5)
    assert one.through.min() > 0


def test_an_untrained_network_hears_nothing():
    inside = looked_inside(scene_of(network("101", alpha=0.0)))
    for through in named(inside)["through_attention"].rows[0][1:]:
        assert not through.values.any()
    for name in ("encoder1", "decoder1"):
        heard = named(inside)[f"heard_{name}"].rows[1][-1]
        assert {step for step, frame in enumerate(heard.values) if frame.any()} == {4, 5}  # its own position
    for one in inside.numbers["attention"]:
        assert one["share_by_axes_apart"] == [1, 0, 0, 0]
        assert {direction["adds"] for direction in one["directions"]} == {0}
    assert {one["change_at_most"] for one in inside.numbers["without"]} == {0}


@pytest.mark.parametrize("shape", [(1, 9, 10), (5, 4, 1), (8, 12, 16)], ids=str)
def test_any_size_is_explained(shape):
    scene = scene_of(network("111"), shape=shape)
    inside = looked_inside(scene)
    for part in named(inside).values():
        assert part.steps[part.start] == f"plane {scene.voxel[0]}" or len(part.steps) == 1
        for picture in (picture for row in part.rows for picture in row):
            assert len(picture.values) in (1, len(part.steps))
            assert np.isfinite(picture.values).all()
    for one in inside.numbers["attention"]:
        for direction in one["directions"]:
            assert sum(direction["heard"]) == pytest.approx(1, abs=1e-4)
            assert direction["slices"] == -(-shape["DHW".index(direction["axis"])] // one["step"])


def test_slices_are_called_by_their_axes_where_the_file_does_not_say_how_the_patient_lies():
    scene = replace(scene_of(network("010", order=(0, 2, 0))), anatomy=())
    (one,) = listen(scene)
    assert [direction.name for direction in one.directions] == ["section 1", "column", "section 2"]


def test_planes_are_called_as_they_cut_the_patient_whatever_axis_the_file_stores_first():
    affine = np.array([[0, -0.7, 0, 0], [0, 0, -0.7, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])  # index → up, left, back
    shape, path = (4, 6, 5), Path("head.nii.gz")
    volume = Volume(np.zeros(shape), (3.0, 0.7, 0.7), affine, path, "nifti")
    box = tuple(slice(0, size) for size in shape)
    geometry = Geometry(shape, orientation_of(volume, "canonical"), box, shape, shape)
    assert anatomy_of(affine, geometry) == ("axial", "sagittal", "coronal")
    assert anatomy_of(None, geometry) == ()


def test_a_network_without_attention_blocks_says_so():
    inside = looked_inside(scene_of(network([])))
    (table,) = inside.parts
    assert isinstance(table, Table)
    assert "no attention block" in table.text
    assert inside.numbers["attention"] == []


def test_the_command_writes_a_page_with_its_numbers(tmp_path: Path, capsys):
    from recurseg.cli.main import main
    from recurseg.inference import PackageSpec, save_package
    from recurseg.preprocess import Preprocessing

    data, out = tmp_path / "data", tmp_path / "why"
    assert main(["phantom", "ms_lesions", str(data), "--cases", "1", "--size", "12x48x36"]) == 0
    options = {"widths": [4, 8, 12], "groups": 4, "placement": "101"}
    spec = PackageSpec(
        model="rsanet",
        options=options,
        in_channels=3,
        num_classes=2,
        modalities=["FLAIR", "T1", "T2"],
        class_names=["background", "lesion"],
        preprocessing=Preprocessing(),
        window=(12, 32, 36),
    )
    model = network("101", in_channels=3, num_classes=2)
    save_package(tmp_path / "package", model, spec)
    case = next(path for path in sorted(data.iterdir()) if path.is_dir())
    assert main(["explain", str(tmp_path / "package"), str(case), "--out", str(out)]) == 0
    numbers = json.loads((out / "explain.json").read_text())
    parts = ["attention", "heard_encoder1", "heard_decoder1", "through_attention", "without_directions"]
    assert numbers["figures"][2:] == [f"{name}.png" for name in parts]
    assert all((out / figure).stat().st_size for figure in numbers["figures"])
    assert {d["direction"] for d in numbers["attention"][0]["directions"]} == {"sagittal", "coronal", "axial"}
    assert [one["without"] for one in numbers["without"][:4]][-1] == "attention"
    page = (out / "explain.html").read_text()
    for text in ("Which slices heed which", "Where the voxel&#39;s information came from: attention after encoder1"):
        assert text in page


@pytest.mark.parametrize("placement", ["010", "101"])
def test_a_non_local_voxel_attends_as_in_its_row_of_the_whole_map(placement):
    torch.manual_seed(0)
    model = create_model("non_local_unet3d", **SMALL, placement=placement).eval()
    scene = scene_of(model)
    for block in non_local_blocks(scene).values():
        nn.init.normal_(block.out.weight, std=0.3)
    given = {}

    def record(block, inputs, said):
        given[block] = inputs[0][0]

    hooks = [block.register_forward_hook(record) for block in non_local_blocks(scene).values()]
    with torch.no_grad():
        expected = model(scene.image)
    for hook in hooks:
        hook.remove()
    inside = explain_non_local(scene, lambda fraction: None)
    for one, (name, block) in zip(attended(scene), non_local_blocks(scene).items(), strict=True):
        real = tuple(-(-size // one.step) for size in scene.image.shape[2:])
        voxels = given[block][(slice(None), *map(slice, real))].flatten(1).T
        whole = (block.theta(voxels) @ block.phi(voxels).T).softmax(dim=1).detach()
        own = np.ravel_multi_index([index // one.step for index in scene.voxel], real)
        np.testing.assert_allclose(one.weights.ravel(), whole[own], rtol=1e-3, atol=1e-6)
        assert name == one.block
        assert named(inside)[f"heard_{name}"].rows[0][1].values.any()
    with torch.no_grad():
        torch.testing.assert_close(model(scene.image), expected, rtol=0, atol=0)
        plain = create_model("unet3d", **SMALL).eval()
        plain.load_state_dict({key: value for key, value in model.state_dict().items() if "attention" not in key})
        left = scene.logit(plain(scene.image)).item()
    assert inside.numbers["without"][-1]["logit"] == pytest.approx(left, abs=1e-4)
    assert inside.numbers["without"][0]["change_at_most"] > 1e-4
