"""What every registered model promises, those of installed packages included."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from recurseg.errors import ConfigError
from recurseg.models import create_model, model_names

PATCHES = {"patch": 4, "stride": 2, "widths": (4, 6), "cell": 5}

SMALL = {
    "pyramid_lstm": {"widths": (4,), "pixelwise": (), "kernel": 3},
    "md_lstm": {"widths": (4,), "pixelwise": (), "spatial_dims": 2},
    "shamann": {**PATCHES, "slots": 6, "word": 4, "heads": 2},
    "bi_mann": {**PATCHES, "slots": 6, "word": 4, "heads": 2},
    "bi_lstm": PATCHES,
    "no_memory": PATCHES,
    "cross_modality": {"widths": (4, 6)},
    "encoder_decoder": {"widths": (4, 6), "mrf": "multiply", "sequence": "convlstm"},
    "segnet": {"widths": (4, 6)},
    "gamma_net": {"filters": (4, 6)},
    "hgru_classifier": {"channels": 4, "kernel": 5, "time_steps": 3},
    "feed_forward_classifier": {"channels": 4, "dilations": (1, 2)},
    "k_unet": {"widths": (4, 6), "hidden": 3},
    "unet": {"widths": (8, 12, 16)},
    "light_unet": {"widths": (4, 8, 16)},
    "unet3d": {"widths": (8, 12, 16), "groups": 4},
    "rsanet": {"widths": (8, 12, 16), "groups": 4, "placement": "111"},
    "non_local_unet3d": {"widths": (8, 12, 16), "groups": 4, "placement": "111"},
    "drn_c_26": {"widths": (4, 4, 4, 8, 8, 8, 8, 8)},
    "drn_c_42": {"widths": (4, 4, 4, 8, 8, 8, 8, 8)},
    "monai_dynunet": {"widths": (6, 8, 12)},
    "monai_segresnet": {"width": 4, "groups": 4, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)},
}
"""Options that keep these tests fast; a model that is not named runs with its defaults."""

CHANNELS = 2
CLASSES = 3

pytestmark = pytest.mark.parametrize("name", model_names())


def build(name: str, *, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return create_model(name, in_channels=CHANNELS, num_classes=CLASSES, **SMALL.get(name, {}))


def noise(model: torch.nn.Module, size: tuple[int, int, int] = (5, 7, 6), *, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, CHANNELS, *size[-model.spatial_dims :], generator=generator)


def answer(model: torch.nn.Module, image: torch.Tensor, *, classes: int = CLASSES) -> tuple[int, ...]:
    """Shape of the logits: one for each image of a classifier, else one for each voxel."""
    return (len(image), classes, *(() if model.task == "classification" else image.shape[2:]))


def test_says_what_it_takes(name):
    model = build(name)
    assert model.task in ("segmentation", "regression", "classification")
    assert model.spatial_dims in (2, 3)
    assert model.sequence_axis in (None, "slice", "time", "patch")


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 9, 1), (3, 1, 11), (8, 8, 8), (5, 13, 7)], ids=str)
def test_logits_have_the_size_of_the_image_or_are_its_own(name, size):
    model = build(name).eval()
    image = noise(model, size)
    logits = model(image)
    assert logits.shape == answer(model, image)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_one_class_is_one_logit(name):
    torch.manual_seed(0)
    model = create_model(name, in_channels=1, num_classes=1, **SMALL.get(name, {})).eval()
    image = noise(model)[:, :1]
    assert model(image).shape == answer(model, image, classes=1)


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 7, 6)], ids=["one voxel", "odd size"])
def test_training_gives_every_parameter_a_finite_gradient(name, size):
    model = build(name).train()
    model(noise(model, size, batch=1)).square().mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_image_gets_a_gradient_from_its_own_logits_only(name):
    model = build(name).eval()
    image = noise(model).requires_grad_()
    model(image)[0].square().sum().backward()
    assert image.grad is not None
    assert image.grad[0].abs().sum() > 0
    assert image.grad[1].abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_autocast_is_finite_and_near_float32(name, dtype):
    model = build(name).eval()
    image = noise(model)
    with torch.no_grad():
        full = model(image)
        with torch.autocast("cpu", dtype=dtype):
            half = model(image)
    assert half.isfinite().all()
    assert (half.float() - full).abs().mean() < 0.1 * full.abs().mean()


def test_eval_is_deterministic(name):
    model = build(name).eval()
    image = noise(model)
    with torch.no_grad():
        assert torch.equal(model(image), model(image))


def test_batch_equals_its_elements_one_by_one(name):
    model = build(name).eval()
    image = noise(model, batch=3)
    with torch.no_grad():
        torch.testing.assert_close(
            model(image), torch.cat([model(element) for element in image.split(1)]), rtol=1e-4, atol=1e-5
        )


def test_weights_survive_safetensors(name, tmp_path):
    model, other = build(name).eval(), build(name, seed=1).eval()
    image = noise(model)
    with torch.no_grad():
        assert not torch.equal(model(image), other(image))
        save_file(model.state_dict(), tmp_path / "weights.safetensors")
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(model(image), other(image))


def test_export_equals_eager(name):
    model = build(name).eval()
    image = noise(model, (2, 3, 2))
    with torch.no_grad():
        exported = torch.export.export(model, (image,)).module()
        torch.testing.assert_close(exported(image), model(image), rtol=1e-4, atol=1e-5)


def test_compiled_equals_eager(name):
    model = build(name).eval()
    image = noise(model, (2, 3, 2))
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    gradients = []
    for run in (model, compiled):
        model.zero_grad()
        logits = run(image)
        logits.square().mean().backward()
        gradients.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_present_is_refused_or_hides_what_is_absent(name):
    model = build(name).eval()
    image = noise(model)
    present = torch.tensor([[True, False], [True, True]])
    try:
        logits = model(image, present=present)
    except ConfigError as error:
        assert "present" in str(error)  # noqa: PT017
        return
    image[0, 1] = 1e3
    assert torch.equal(logits, model(image, present=present))


def test_state_is_refused_or_carried_on(name):
    model = build(name).eval()
    image = noise(model)
    with torch.no_grad():
        logits, state = model(image, return_state=True)
        assert torch.equal(logits, model(image))
        if state is None:
            with pytest.raises(ConfigError, match="state"):
                model(image, state=object())
        else:
            assert model(image, state).isfinite().all()


def test_a_cine_is_segmented_frame_by_frame_with_a_memory(name):
    model = build(name).eval()
    if model.sequence_axis != "time":
        return
    cine = noise(model, batch=10).unflatten(0, (2, 5)).transpose(1, 2)  # (B, C, T, H, W)
    with torch.no_grad():
        whole = model(cine)
        assert whole.shape == (2, CLASSES, *cine.shape[2:])
        chunks, state = [], None
        for chunk in cine.split((1, 3, 1), dim=2):
            logits, state = model(chunk, state, return_state=True)
            chunks.append(logits)
        torch.testing.assert_close(torch.cat(chunks, dim=2), whole, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.cat([model(one) for one in cine.split(1)]), whole, rtol=1e-4, atol=1e-5)
        alone = model(cine[:, :, 2:])[:, :, 0]
        assert not torch.allclose(alone, whole[:, :, 2], rtol=1e-3, atol=1e-3)
