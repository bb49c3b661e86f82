"""Cross-modality convolution against the paper, its counts, and what slices and missing modalities may do."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models import create_model

SMALL = {"widths": (4, 4, 4)}
SEQUENCES = ["convlstm", "seq2seq", "bidirectional", "off"]


def build(*, in_channels=3, num_classes=2, seed=0, **options):
    torch.manual_seed(seed)
    return create_model("cross_modality", in_channels=in_channels, num_classes=num_classes, **SMALL | options)


def lived_in(model):
    """Statistics and scales as after a training, so that each of them matters."""
    generator = torch.Generator().manual_seed(5)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) / 5)
            layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data += torch.randn(parameter.shape, generator=generator) / 5
    return model


def volume(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 1_023_045),
        ({"widths": (32, 64, 128, 256)}, 7_003_525),
        ({"widths": (64, 128, 256, 512)}, 27_994_885),
        ({"cmc": "depthwise"}, 958_533),
        ({"widths": (32, 64, 128, 256), "cmc": "depthwise"}, 6_657_285),
        ({"widths": (64, 128, 256, 512), "cmc": "depthwise"}, 26_606_085),
        ({"preset": "ref"}, 1_073_165),
        ({"preset": "ref", "sequence": "convlstm"}, 957_805),
    ],
    ids=str,
)
def test_parameters_are_those_counted_from_the_paper_and_its_code(options, parameters):
    with torch.device("meta"):
        assert count(create_model("cross_modality", in_channels=4, num_classes=5, **options)) == parameters


def test_parts_of_the_authors_code_have_its_parameters():
    model = create_model("cross_modality", in_channels=4, num_classes=5, preset="ref")
    assert [count(encoder) for encoder in model.encoders] == [173_680] * 4
    assert count(model.fusions) == 6_400
    assert count(model.sequence) == 2 * 115_360
    assert count(model.decoder) == 141_120 + 205


def convolve(w, key, x, *, relu, bias=True):
    conv, norm = f"{key[0]}.{key[1]}", f"{key[0]}.{key[1] + 1}"
    x = F.conv2d(x, w[f"{conv}.weight"], w.get(f"{conv}.bias"), padding=1)
    mean, var = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
    x = F.batch_norm(x, mean, var, w.get(f"{norm}.weight"), w[f"{norm}.bias"])
    return x.relu() if relu else x


def fuse(weight, bias, features):
    mixed = [torch.einsum("oc,nchw->nohw", weight[m], x) for m, x in enumerate(features)]
    return sum(mixed) + (0 if bias is None else bias.view(-1, 1, 1))


def cell(w, key, x, state):
    h, c = state
    x_gates = F.conv2d(x, w[f"{key}.weight_x"], w[f"{key}.bias"], padding=1)
    i, f, o, g = (x_gates + F.conv2d(h, w[f"{key}.weight_h"], padding=1)).chunk(4, dim=1)
    c = c * f.sigmoid() + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def double(w, key, x):
    return F.conv_transpose2d(x, w[f"{key}.weight"], w.get(f"{key}.bias"), stride=2)


def test_paper_equals_its_sections_written_out():
    model = lived_in(build(in_channels=2, widths=(3, 4))).eval()
    w, image = model.state_dict(), volume(1, 2, 3, 8, 12)
    state, logits = (torch.zeros(1, 4, 2, 3),) * 2, []
    for plane in image.unbind(2):
        fine, coarse = [], []
        for m in range(2):
            x = F.max_pool2d(convolve(w, (f"encoders.{m}.levels.0", 0), plane[:, m : m + 1], relu=True), 2)
            fine.append(x)
            coarse.append(F.max_pool2d(convolve(w, (f"encoders.{m}.levels.1", 0), x, relu=True), 2))
        half, quarter = (
            fuse(w[f"fusions.{level}.weight"], w[f"fusions.{level}.bias"], x)
            for level, x in enumerate((fine, coarse))
        )
        state = cell(w, "sequence", quarter, state)
        x = double(w, "decoder.up.0", state[0]) * half
        x = double(w, "decoder.up.1", convolve(w, ("decoder.levels.0", 0), x, relu=False))
        x = convolve(w, ("decoder.levels.1", 0), x, relu=False)
        logits.append(F.conv2d(x, w["decoder.head.weight"], w["decoder.head.bias"]))
    torch.testing.assert_close(model(image), torch.stack(logits, dim=2), rtol=1e-4, atol=1e-5)


def test_ref_equals_the_authors_code_written_out():
    model = lived_in(build(in_channels=2, preset="ref", widths=(3, 3, 3))).eval()
    w, image = model.state_dict(), volume(1, 2, 3, 8, 12)
    shared, skips, bottom = w["fusions.0.weight"], [], []
    for plane in image.unbind(2):
        levels = [[], [], []]
        for m in range(2):
            x = plane[:, m : m + 1]
            for level, convolutions in enumerate((2, 3, 2)):
                x = F.max_pool2d(x, 2) if level else x
                for number in range(convolutions):
                    place = 3 * number + (level > 0)
                    x = convolve(w, (f"encoders.{m}.levels.{level}", place), x, relu=True)
                levels[level].append(x)
        *fine, coarse = (fuse(shared, None, features) for features in levels)
        skips.append(fine)
        bottom.append(coarse)
    state, logits = (torch.zeros(1, 3, 2, 3),) * 2, []
    for coarse in bottom:
        state = cell(w, "sequence.reader", coarse, state)
    said = state[0]
    for fine in skips:
        state = cell(w, "sequence.writer", said, state)
        x = said = state[0]
        for stage, skip in enumerate(reversed(fine)):
            x = double(w, f"decoder.up.{stage}", x) * skip
            for place in (0, 3):
                x = convolve(w, (f"decoder.levels.{stage}", place), x, relu=True)
        logits.append(F.conv2d(x, w["decoder.head.weight"], w["decoder.head.bias"]))
    torch.testing.assert_close(model(image), torch.stack(logits, dim=2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 1, 1), (6, 17, 9), (6, 8, 16)], ids=str)
@pytest.mark.parametrize("preset", ["paper", "ref"])
def test_slices_in_chunks_give_what_they_give_whole(preset, size):
    model = lived_in(build(preset=preset, sequence="convlstm")).eval()
    image = volume(2, 3, *size)
    parts, state = [], None
    with torch.no_grad():
        for chunk in image.split([1, 3, 2], dim=2):
            logits, state = model(chunk, state, return_state=True)
            parts.append(logits)
        torch.testing.assert_close(torch.cat(parts, dim=2), model(image), rtol=1e-4, atol=1e-5)


def test_a_part_given_what_is_known_before_and_behind_it_is_as_in_the_whole():
    model = lived_in(build(sequence="bidirectional")).eval()
    present = torch.tensor([[True, False, True], [True, True, True]])
    front, back = (image := volume(2, 3, 6, 17, 9)).split([2, 4], dim=2)
    with torch.no_grad():
        behind = model.behind(back, present=present)
        first, (before, _) = model(front, (None, behind), present=present, return_state=True)
        second = model(back, (before, None), present=present)
        whole = model(image, present=present)
    torch.testing.assert_close(torch.cat([first, second], dim=2), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sequence", ["seq2seq", "off"])
def test_a_state_is_refused_with_the_reason(sequence):
    model = build(sequence=sequence).eval()
    image = volume(1, 3, 2, 8, 8)
    assert model(image, return_state=True)[1] is None
    with pytest.raises(ConfigError, match=f"with sequence '{sequence}' takes no state, as .*: call it without"):
        model(image, (image, image))


@pytest.mark.parametrize(
    ("sequence", "seen"),
    [("off", "...x..."), ("convlstm", "xxxx..."), ("bidirectional", "xxxxxxx"), ("seq2seq", "...xxx.")],
)
def test_a_slice_sees_as_far_as_its_sequence_model_says(sequence, seen):
    model = build(sequence=sequence).eval()
    image = volume(1, 3, 7, 16, 16).requires_grad_()
    model(image)[:, :, 3].square().sum().backward()
    by_slice = image.grad.abs().sum((0, 1, 3, 4))
    assert "".join("x" if gradient > 0 else "." for gradient in by_slice) == seen


@pytest.mark.parametrize("mrf", ["multiply", "concat", "off"])
@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("options", [{}, {"cmc": "scalar"}, {"preset": "ref"}, {"stacked": True}], ids=str)
def test_gradients_reach_every_weight_of_every_combination(options, sequence, mrf):
    model = build(sequence=sequence, mrf=mrf, **options).train()
    logits = model(volume(2, 3, 4, 9, 13))
    assert logits.shape == (2, 2, 4, 9, 13)
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_multiplying_needs_no_weights_and_concatenating_does():
    assert count(build(mrf="off", stacked=True)) == count(build(mrf="multiply", stacked=True))
    widened = 2 * (4 * 4 * 9)  # two stages with a finer map, each convolution with four more channels in
    assert count(build(mrf="concat", stacked=True)) == count(build(mrf="multiply", stacked=True)) + widened


PRESENT = torch.tensor([[True, False, True], [False, False, True], [True, False, True]])


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1e9], ids=str)
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    "options",
    [{}, {"cmc": "depthwise"}, {"cmc": "scalar"}, {"preset": "ref", "sequence": "convlstm"}, {"stacked": True}],
    ids=str,
)
def test_what_an_absent_modality_holds_changes_nothing(options, mode, garbage):
    image = volume(3, 3, 2, 8, 8)
    results = []
    for held in (0.0, garbage):
        model = build(**options).train(mode == "train")
        torch.manual_seed(0)  # of the dropout
        logits = model(image.where(PRESENT[:, :, None, None, None], held), present=PRESENT)
        logits.square().mean().backward()
        results.append([logits.detach(), *(p.grad for p in model.parameters()), *model.buffers()])
    for zeros, other in zip(*results, strict=True):
        assert torch.equal(zeros, other)
        assert other.isfinite().all()


def test_with_all_present_nothing_differs():
    model = lived_in(build()).eval()
    image = volume(2, 3, 2, 8, 8)
    assert torch.equal(model(image, present=torch.ones(2, 3, dtype=torch.bool)), model(image))


def test_batch_norm_learns_from_the_volumes_that_have_the_modality():
    image = volume(3, 3, 2, 8, 8)
    model = build().train()
    fresh = copy.deepcopy(model)
    model(image, present=PRESENT)
    fresh(image[[0, 2]])
    for ours, alone in zip(model.encoders[0].buffers(), fresh.encoders[0].buffers(), strict=True):
        torch.testing.assert_close(ours, alone)
    for ours, untouched in zip(model.encoders[1].buffers(), build().encoders[1].buffers(), strict=True):
        assert torch.equal(ours, untouched) or ours.dtype == torch.long  # batches are counted, nothing is learned


def test_cases_of_a_batch_may_lack_different_modalities():
    model = lived_in(build()).eval()
    image = volume(3, 3, 2, 8, 8)
    with torch.no_grad():
        each = [model(image[n : n + 1], present=PRESENT[n : n + 1]) for n in range(3)]
        torch.testing.assert_close(model(image, present=PRESENT), torch.cat(each), rtol=1e-4, atol=1e-5)


def test_an_absent_modality_differs_from_a_black_one():
    model = lived_in(build()).eval()
    image = volume(1, 3, 2, 8, 8)
    image[:, 1] = 0
    assert not torch.allclose(model(image), model(image, present=torch.tensor([[True, False, True]])))


def test_to_stacked_modalities_an_absent_one_is_zero():
    model = lived_in(build(stacked=True)).eval()
    image = volume(1, 3, 2, 8, 8)
    logits = model(image, present=torch.tensor([[True, False, True]]))
    image[:, 1] = 0
    assert torch.equal(logits, model(image))


@pytest.mark.parametrize(
    ("present", "message"),
    [(torch.tensor([[True] * 3, [False] * 3]), "no modality present"), (torch.ones(2, 2), r"takes \(2, 3\)")],
)
def test_an_impossible_presence_is_one_line(present, message):
    with pytest.raises(ConfigError, match=message):
        build()(volume(2, 3, 1, 8, 8), present=present.bool())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "papers"}, "unknown preset 'papers'; did you mean 'paper'"),
        ({"cmc": "denser"}, "unknown cmc 'denser'; did you mean 'dense'"),
        ({"mrf": "multiple"}, "unknown mrf 'multiple'; did you mean 'multiply'"),
        ({"sequence": "lstm"}, "unknown sequence 'lstm'; did you mean 'convlstm'"),
        ({"widths": ()}, "give at least one width"),
        ({"length": 0}, "give at least one width and slice"),
        ({"preset": "ref", "widths": (4, 8)}, "share_resolutions needs equal widths"),
    ],
    ids=str,
)
def test_impossible_options_are_one_clear_line(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_wrong_image_is_named_with_what_is_taken():
    with pytest.raises(ConfigError, match=r"'cross_modality' takes \(B, 3, D, H, W\), not \(1, 3, 8, 8\)"):
        build()(volume(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 327_884),
        ({"sequence": "convlstm"}, 623_052),
        ({"mrf": "multiply"}, 327_884),
        ({"sequence": "convlstm", "mrf": "multiply"}, 623_052),
    ],
    ids=str,
)
def test_encoder_decoder_of_camvid_has_one_encoder_and_no_fusion(options, parameters):
    model = create_model("encoder_decoder", in_channels=3, num_classes=12, **options)
    assert len(model.encoders) == 1
    assert not model.fusions
    # 3→64 and 3 × 64→64 with batch norm; 4 stages of up-convolution, convolution, batch norm; 64→12
    encoder, stage, lstm = 3 * 9 * 64 + 192 + 3 * (36_928 + 128), 16_448 + 36_928 + 128, 128 * 9 * 256 + 256
    assert count(model) == encoder + 4 * stage + 65 * 12 + lstm * ("sequence" in options) == parameters


def test_encoder_decoder_is_cross_modality_with_stacked_channels():
    options = {"in_channels": 3, "num_classes": 2, "widths": (4, 6), "mrf": "multiply", "sequence": "convlstm"}
    torch.manual_seed(0)
    ours = create_model("encoder_decoder", **options).eval()
    torch.manual_seed(0)
    other = create_model("cross_modality", stacked=True, **options).eval()
    image = volume(1, 3, 3, 8, 8)
    assert torch.equal(ours(image), other(image))
