"""A look inside networks of fGRUs: steps, activity, gates, frames, and what is lost without a pathway."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recurseg.data.case import Case, Volume
from recurseg.data.series import frames_up_to
from recurseg.errors import ConfigError
from recurseg.explain import Curve, Inside, Part, Scene, Table, explain_case
from recurseg.explain.cine import shown_frame
from recurseg.explain.fgru import Place, cells_of, gamma_net_of, gate_of, step_by_step
from recurseg.explain.fgru_without import answers_without, attention_cut, kernels_cut, top_down_cut
from recurseg.explain.gamma_net import explain_gamma_net
from recurseg.explain.gradient import input_gradient
from recurseg.explain.hgru_classifier import explain_hgru_classifier
from recurseg.explain.scene import make_scene
from recurseg.inference import PackageSpec, Segmenter, save_package
from recurseg.layers.fgru import FGRU
from recurseg.models import create_model
from recurseg.models.gamma_net import GammaNet
from recurseg.preprocess import Preprocessing, prepare

CLASSES = ["background", "right ventricle", "myocardium"]
SMALL = {"filters": [4, 6, 8], "time_steps": 3}
NETWORKS = {
    "fixed": {},
    "thesis": {"preset": "thesis"},
    "original": {"preset": "original", "time_steps": 3},
    "no attention": {"attention": "off"},
    "2019": {"attention": "iclr2019", "hidden_init": "identity", "norm": "per_step"},
}


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(name: str = "gamma_net", *, classes: int = 3, **options) -> nn.Module:
    """A small one whose weights are far from where they began, so that every part matters."""
    torch.manual_seed(0)
    model = create_model(name, in_channels=1, num_classes=classes, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(draw(*parameter.shape, seed=parameter.numel()) / 3)
        for _ in range(3):
            model(draw(4, 1, 24, 24, seed=2))
    return model.eval()


def gamma(which: str = "fixed", **options) -> GammaNet:
    model = network(**SMALL | NETWORKS[which] | options)
    assert isinstance(model, GammaNet)
    return model


def scene_of(model: nn.Module, *, shape: tuple[int, int] = (20, 25), classes: int = 3, frames: int = 0) -> Scene:
    voxel = (11, 9)
    scene = Scene(
        model=model,
        image=draw(1, 1, *shape),
        voxel=voxel,
        target=1,
        class_names=CLASSES[:classes],
        modalities=["MR"],
        spacing=(1.5, 1.5),
        planes=tuple([f"plane {index}" for index in range(size)] for size in shape),
        stored=voxel,
        whole=shape,
    )
    if not frames:
        return scene
    return replace(
        scene,
        image=draw(1, 1, frames, *shape),
        voxel=(frames - 1, *voxel),
        spacing=(1.0, *scene.spacing),
        planes=([f"frame {n}" for n in range(frames)], *scene.planes),
        whole=(frames, *shape),
        frame=frames - 1,
        at_once=2,
    )


def looked_inside(scene: Scene) -> Inside:
    return explain_gamma_net(scene, lambda fraction: None)


def titled(inside: Inside) -> dict[str, Part | Curve | Table]:
    return {part.title: part for part in inside.parts}


def named(inside: Inside) -> dict[str, Part]:
    return {part.name: part for part in inside.parts if isinstance(part, Part)}


@pytest.mark.parametrize("which", NETWORKS)
def test_the_last_step_is_the_answer_and_looking_changes_nothing(which):
    scene = scene_of(gamma(which))
    with torch.no_grad():
        expected = scene.model(scene.image)
        every = gamma_net_of(scene).steps(scene.image)
    steps = step_by_step(scene)
    for n, step in enumerate(steps):
        torch.testing.assert_close(step.logits, every[0, :, n], rtol=1e-4, atol=1e-4)
    assert [step.name for step in steps] == ["step 1", "step 2", "step 3"]
    looked_inside(scene)
    with torch.no_grad():
        torch.testing.assert_close(scene.model(scene.image), expected, rtol=0, atol=0)
    assert not any(module._forward_hooks for module in scene.model.modules())


@pytest.mark.parametrize("which", ["fixed", "original"])
def test_the_activity_of_a_level_is_its_state_enlarged_to_the_image(which):
    scene = scene_of(gamma(which))
    steps = step_by_step(scene)
    with torch.no_grad():
        _, state = scene.model(scene.image, return_state=True)
    for level, hidden in enumerate(state.hidden):
        mean = hidden[0].abs().mean(dim=0)
        whole = F.interpolate(mean[None, None], scale_factor=2**level, mode="nearest")[0, 0, :20, :25]
        np.testing.assert_allclose(steps[-1].activity[level], whole, rtol=1e-4, atol=1e-5)


def test_a_gate_is_the_sigmoid_of_normed_attention_and_holds_the_rest_back():
    """Written out for preset "fixed": σ(norm(what · where) + b1), what: of each channel's maximum."""
    model = gamma()
    cell, state = model.down_cells[1], draw(1, 6, 10, 12).relu()
    assert isinstance(cell, FGRU)
    assert cell.attention is not None
    assert cell.scale is not None
    assert cell.shift is not None
    assert cell.bias_1 is not None
    with torch.no_grad():
        gate = gate_of(cell, state, cell.attention(state), 0)
        what = cell.attention.globally(state.amax((2, 3), keepdim=True))
        where = cell.attention.locally(state)
        normed = F.instance_norm(what * where, eps=1e-3) * cell.scale[0, 3].view(-1, 1, 1)
        expected = (normed + (cell.shift[0, 3] + cell.bias_1).view(-1, 1, 1)).sigmoid()
    np.testing.assert_allclose(gate.gate, expected[0].mean(dim=0), rtol=1e-4)
    np.testing.assert_allclose(gate.where, where[0, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gate.held_back, ((1 - expected) * state)[0].mean(dim=0), rtol=1e-4, atol=1e-6)
    assert gate.share == pytest.approx(float(((1 - expected) * state).sum() / state.sum()), rel=1e-4)


def test_every_cell_with_a_state_has_a_gate():
    steps = step_by_step(scene_of(gamma()))
    up = {Place("up", 0), Place("up", 1)}
    assert set(steps[0].gates) == up  # states begin as zeros: nothing to gate on the way down
    assert set(steps[1].gates) == up | {Place("down", level) for level in range(3)}
    assert list(cells_of(gamma())) == [*(Place("down", n) for n in range(3)), Place("up", 1), Place("up", 0)]
    inside = looked_inside(scene_of(gamma("no attention")))
    assert "gates" not in inside.numbers
    assert "gates" not in named(inside)
    assert [one["without"] for one in inside.numbers["without"]] == ["horizontal kernels", "top-down pathway"]


@pytest.mark.parametrize("which", NETWORKS)
def test_cutting_the_horizontal_kernels_changes_the_prediction_and_the_page_says_so(which):
    scene = scene_of(gamma(which))
    whole, less = answers_without(scene)
    kernels = less[0]
    assert kernels.without == "horizontal kernels"
    assert np.abs(kernels.probability - whole.probability).max() > 0.05
    inside = looked_inside(scene)
    told = inside.numbers["without"][0]
    assert told["change_at_most"] == pytest.approx(np.abs(kernels.probability - whole.probability).max(), rel=1e-4)
    assert told["other_class"] == pytest.approx((kernels.labels != whole.labels).mean())
    said = f"Without horizontal kernels positions of a level exchange nothing: {100 * told['other_class']:.1f}\u00a0%"
    assert said in named(inside)["without_pathways"].text
    table = titled(inside)["What is withheld, in numbers"]
    assert isinstance(table, Table)
    assert table.rows[0][0] == "horizontal kernels"
    assert table.rows[0][4] == f"{told['change_at_most']:.2g}"


def test_kernels_that_are_zero_already_change_nothing_when_cut():
    model = gamma()
    with torch.no_grad():
        for cell in cells_of(model).values():
            cell.inhibition.zero_()
            assert cell.excitation is not None
            cell.excitation.zero_()
    told = looked_inside(scene_of(model)).numbers["without"][0]
    assert told["change_at_most"] == 0


def test_without_horizontal_kernels_a_cell_s_positions_know_nothing_of_one_another():
    torch.manual_seed(0)
    cell = FGRU(4, kernel=5, preset="hgru")
    drive = draw(1, 4, 9, 9).requires_grad_()
    with kernels_cut(cell):
        cell(drive, draw(1, 4, 9, 9, seed=3))[0, :, 4, 4].sum().backward()
    assert drive.grad is not None
    reached = drive.grad[0].abs().sum(dim=0) > 0
    assert reached.nonzero().tolist() == [[4, 4]]


def test_without_the_top_down_pathway_the_coarsest_cell_of_the_last_step_does_not_matter():
    model = gamma(time_steps=1)
    image = draw(1, 1, 20, 25)

    def answers() -> list[torch.Tensor]:
        with torch.no_grad(), top_down_cut(model):
            cut = model(image)
        with torch.no_grad():
            return [model(image), cut]

    before = answers()
    with torch.no_grad():
        for parameter in model.down_cells[2].parameters():
            parameter.add_(1)
    after = answers()
    torch.testing.assert_close(after[1], before[1], rtol=0, atol=0)
    assert not torch.allclose(after[0], before[0], atol=1e-3)


def test_without_attention_every_position_is_gated_alike():
    model = gamma()
    cell = model.down_cells[0]
    assert isinstance(cell, FGRU)
    assert cell.attention is not None
    state = draw(1, 4, 9, 9)
    with torch.no_grad(), attention_cut(model):
        gate = gate_of(cell, state, cell.attention(state), 0)
    assert np.ptp(gate.gate) < 1e-5
    with torch.no_grad():
        assert np.ptp(gate_of(cell, state, cell.attention(state), 0).gate) > 1e-3


def test_steps_in_numbers_are_those_of_the_maps():
    scene = scene_of(gamma())
    inside = looked_inside(scene)
    with torch.no_grad():
        every = gamma_net_of(scene).steps(scene.image).softmax(1)[0, 1]
    numbers = inside.numbers["steps"]
    assert numbers[0]["change"] is None
    assert numbers[2]["change"] == pytest.approx(float((every[2] - every[1]).abs().mean()), rel=1e-3)
    assert numbers[1]["probability"] == pytest.approx(float(every[1, 11, 9]), rel=1e-3)
    assert numbers[2]["dice"] == 1
    curve = titled(inside)["What each step still changes"]
    assert isinstance(curve, Curve)
    assert curve.own == 2
    np.testing.assert_allclose(curve.lines["mean |change| of probability"][1:], [n["change"] for n in numbers[1:]])


def test_a_network_of_one_step_and_one_logit_is_shown_too():
    inside = looked_inside(scene_of(gamma(classes=1, time_steps=1), classes=2))
    assert not any(isinstance(part, Curve) for part in inside.parts)
    assert len(inside.numbers["steps"]) == 1
    assert named(inside)["steps"].rows[0][2].sources == ("right ventricle",)


@pytest.mark.parametrize("frames", [0, 5])
def test_every_slider_starts_at_what_is_explained(frames):
    inside = looked_inside(scene_of(gamma(), frames=frames))
    for name in ("steps", "activity", "gates"):
        part = named(inside)[name]
        assert part.steps[part.start] == ("frame 4" if frames else "step 3")
        for picture in (picture for row in part.rows for picture in row):
            assert len(picture.values) == len(part.steps)
            assert picture.values.shape[1:3] == (20, 25)
            assert np.isfinite(picture.values).all()
    assert [len(row) for row in named(inside)["gates"].rows] == [3, 3, 3, 2, 2, 2]


def test_a_cine_in_parts_is_the_cine_whole_in_answer_and_gradient():
    scene = scene_of(gamma(), frames=5)
    with torch.no_grad():
        whole = scene.model(scene.image)
        torch.testing.assert_close(scene.answer(scene.image), whole, rtol=1e-4, atol=1e-4)
    for step, frame in zip(step_by_step(scene), whole[0].unbind(1), strict=True):
        torch.testing.assert_close(step.logits, frame, rtol=1e-4, atol=1e-4)
    in_parts, at_once = (input_gradient(replace(scene, at_once=count)).magnitude for count in (2, 5))
    np.testing.assert_allclose(in_parts, at_once, rtol=1e-3, atol=1e-6)
    assert (at_once.max(axis=(1, 2)) > 0).all()  # earlier frames matter


def test_a_frame_without_those_before_is_the_image_that_stands_still():
    scene = scene_of(gamma(), frames=3)
    _, less = answers_without(scene)
    assert less[-1].without == "earlier frames"
    with torch.no_grad():
        alone = scene.model(scene.image[:, :, 2]).softmax(1)[0, 1]  # an image is seen three times
    np.testing.assert_allclose(less[-1].probability, alone, rtol=1e-4, atol=1e-5)
    assert shown_frame(scene).voxel == (11, 9)
    assert shown_frame(shown_frame(scene)).dims == 2


def cine(*, frames: int = 6, phases: dict[str, int] | None = None, labelled: tuple[int, ...] = ()) -> Case:
    """A disc that grows, in the file as (x, y, z, t)."""
    y, x = np.mgrid[:24, :20]
    radii = 3 + np.arange(frames)
    discs = np.stack([(y - 12) ** 2 + (x - 8) ** 2 <= radius**2 for radius in radii], -1).astype(np.float32)
    array = np.stack([discs * scale for scale in (1.0, 2.0, 1.5)], axis=2)
    array += np.random.default_rng(0).normal(0, 0.1, array.shape).astype(np.float32)

    def volume(values: np.ndarray, **more) -> Volume:
        return Volume(values, (1.5, 1.5, 8.0, 0.03), np.eye(4), Path("cine.nii"), "nifti", time_axis=3, **more)

    label = volume(np.zeros(array.shape, np.uint8), given_frames=labelled) if labelled else None
    return Case("patient", {"MR": volume(array)}, label, phases=phases or {})


def segmenter(frames: str, model: nn.Module | None = None, **changes) -> Segmenter:
    spec = PackageSpec(
        model="gamma_net",
        options=SMALL,
        in_channels=1,
        num_classes=3,
        modalities=["MR"],
        class_names=CLASSES,
        preprocessing=Preprocessing(normalise="none"),
        window=(3, 24, 24) if frames != "each" else (24, 24),
        frames=frames,  # pyright: ignore[reportArgumentType]
        **changes,
    )
    return Segmenter(spec, model or gamma(), torch.device("cpu"))


@pytest.mark.parametrize(
    ("case", "wanted", "frame", "said"),
    [
        (cine(labelled=(4, 5), phases={"ES": 3}), None, 4, "has a label"),
        (cine(phases={"ES": 3, "ED": 1}), None, 1, "that of ED"),
        (cine(), None, 5, "last of the cine"),
        (cine(labelled=(4,)), 2, 2, ""),
    ],
    ids=["labelled", "named", "last", "asked for"],
)
@pytest.mark.parametrize("frames", ["each", "series"])
def test_the_frame_is_the_first_with_a_label_else_a_name_else_the_last(case, wanted, frame, said, frames):
    scene, notes = make_scene(segmenter(frames), case, frame=wanted, voxel=(12, 8, 1))
    assert scene.frame == frame
    assert scene.stored == (12, 8, 1)
    assert any(said in note for note in notes) if said else not notes
    own = shown_frame(scene)
    np.testing.assert_array_equal(
        own.channels, prepare(case.frame(frame), Preprocessing(normalise="none")).image[:, 1]
    )


@pytest.mark.parametrize("frame", [0, 4])
@pytest.mark.parametrize("frames", ["series", "stream"])
def test_what_is_explained_of_a_cine_is_what_is_predicted(frames, frame):
    made, case = segmenter(frames), cine()
    predicted = made.predict(case, probabilities=True).probabilities
    assert predicted is not None
    scene, notes = make_scene(made, case, frame=frame)
    with torch.no_grad():
        probability = scene.probability(scene.answer(scene.image))
    assert probability == pytest.approx(float(predicted[(scene.target, *scene.stored, frame)]), rel=1e-3)
    order = frames_up_to(frame, 3, 6) if frames == "series" else list(range(6))
    assert scene.planes[0] == [f"frame {number}" for number in order]
    assert scene.planes[0][scene.voxel[0]] == f"frame {frame}"
    assert any("in the central section" in note for note in notes)


def test_a_network_that_sees_no_time_is_shown_the_frame_as_an_image():
    found = explain_case(segmenter("each"), cine(), frame=2)
    still = explain_case(segmenter("each"), cine().frame(2))
    assert found.numbers["frame"] == 2
    assert "frame" not in still.numbers
    assert found.numbers["steps"] == still.numbers["steps"]
    assert ("frame", "2") in found.facts


def test_a_cine_is_explained_over_its_frames():
    found = explain_case(segmenter("series"), cine(), frame=4)
    assert [one["step"] for one in found.numbers["steps"]] == ["frame 2", "frame 3", "frame 4"]
    assert set(found.numbers["gradient"]["reach_voxels"]) == {"T", "H", "W"}
    assert [one["without"] for one in found.numbers["without"]][-1] == "earlier frames"
    parts = {part.title: part for part in found.parts}
    assert "The same, frame by frame" in parts
    assert "What each frame changes" in parts


@pytest.mark.parametrize(
    ("case", "frame", "message"),
    [(cine(), 6, "6 frames: the last is 5"), (cine(), -1, "the last is 5"), (cine().frame(0), 0, "has no frames")],
    ids=["behind_the_last", "before_the_first", "no_cine"],
)
def test_a_frame_that_is_not_there_is_one_clear_line(case, frame, message):
    with pytest.raises(ConfigError, match=message):
        make_scene(segmenter("series"), case, frame=frame)


def classifier_scene(**options) -> Scene:
    options = {"channels": 6, "kernel": 5, "time_steps": 3, "input_kernel": 5} | options
    model = network("hgru_classifier", classes=2, **options)
    return Scene(
        model=model,
        image=draw(1, 1, 22, 26),
        voxel=(),
        target=1,
        class_names=["two paths", "one path"],
        modalities=["image"],
        spacing=(1.0, 1.0),
        planes=(),
        stored=(),
        whole=(22, 26),
    )


def test_a_classifier_is_shown_step_by_step_and_without_its_horizontal_kernels():
    scene = classifier_scene()
    inside = explain_hgru_classifier(scene, lambda fraction: None)
    with torch.no_grad():
        expected = scene.model(scene.image)
        fewer = network("hgru_classifier", classes=2, channels=6, kernel=5, time_steps=3, input_kernel=5)
        fewer.context.steps = 2  # pyright: ignore
        with kernels_cut(scene.model):
            cut = scene.model(scene.image)
        torch.testing.assert_close(scene.model(scene.image), expected, rtol=0, atol=0)
        after_two = fewer(scene.image)
    steps, without = inside.numbers["steps"], inside.numbers["without"][0]
    assert len(steps) == 3
    assert steps[2]["probability"] == pytest.approx(float(expected.softmax(1)[0, 1]), rel=1e-4)
    assert steps[1]["probability"] == pytest.approx(float(after_two.softmax(1)[0, 1]), rel=1e-4)
    assert without["probability"] == pytest.approx(float(cut.softmax(1)[0, 1]), rel=1e-4)
    assert without["change"] > 1e-3
    assert f"that probability {without['probability']:.3f}" in named(inside)["without_kernels"].text


def test_maps_of_strided_filters_are_as_large_as_the_image():
    steps = named(explain_hgru_classifier(classifier_scene(stride=2), lambda fraction: None))["steps"]
    image, state = steps.rows[0][:2]
    assert [image.values.shape, state.values.shape] == [(1, 22, 26), (3, 11, 13)]
    assert [image.pixel, state.pixel] == [(1, 1), (2, 2)]


def test_the_page_of_a_classifier_has_no_voxel(tmp_path, capsys):
    from PIL import Image

    from recurseg.cli.main import main

    options = {"channels": 4, "kernel": 5, "time_steps": 2, "input_kernel": 5}
    spec = PackageSpec(
        task="classification",
        model="hgru_classifier",
        options=options,
        in_channels=1,
        num_classes=1,
        modalities=["image"],
        class_names=["two paths", "one path"],
        preprocessing=Preprocessing(),
        window=(32, 32),
    )
    save_package(tmp_path / "package", network("hgru_classifier", classes=1, **options), spec)
    photo, out = tmp_path / "photo.png", tmp_path / "why"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 30), dtype=np.uint8)).save(photo)
    assert main(["explain", str(tmp_path / "package"), str(photo), "--out", str(out)]) == 0
    numbers = json.loads((out / "explain.json").read_text())
    assert "voxel" not in numbers
    assert numbers["figures"] == ["context.png", "steps.png", "steps_change.svg", "without_kernels.png"]
    page = (out / "explain.html").read_text()
    assert "the voxel</span>" not in page
    assert "with the horizontal kernels 0" in page
    capsys.readouterr()
    assert main(["explain", str(tmp_path / "package"), str(photo), "--out", str(out), "--voxel", "1,1"]) == 2
    assert "classifies whole images" in capsys.readouterr().err


def test_the_command_writes_a_page_over_the_frames_of_a_cine(tmp_path: Path, capsys):
    import nibabel

    from recurseg.cli.main import main

    made = segmenter("series")
    save_package(tmp_path / "package", made.model, made.spec)
    array = np.asarray(cine().reference.array[...])
    image = nibabel.Nifti1Image(array, np.diag([1.5, 1.5, 8.0, 1.0]))
    image.header.set_zooms((1.5, 1.5, 8.0, 0.03))
    nibabel.save(image, tmp_path / "cine.nii.gz")
    out = tmp_path / "why"
    command = ["explain", str(tmp_path / "package"), str(tmp_path / "cine.nii.gz"), "--out", str(out)]
    assert main([*command, "--frame", "1"]) == 0
    assert "frame 1" in capsys.readouterr().out
    numbers = json.loads((out / "explain.json").read_text())
    assert [one["step"] for one in numbers["steps"]] == ["frame 3", "frame 2", "frame 1"]
    assert {figure.name for figure in out.iterdir()} == {*numbers["figures"], "explain.html", "explain.json"}
    page = (out / "explain.html").read_text()
    for heading in ("The answer, frame by frame", "Hidden activity of each level", "Without each pathway"):
        assert heading in page
    assert "Without horizontal kernels positions of a level exchange nothing" in page
    assert main([*command, "--frame", "9"]) == 2
    assert "6 frames: the last is 5" in capsys.readouterr().err
