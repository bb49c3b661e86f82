import pytest
import torch

from recurseg.errors import ConfigError
from recurseg.models import create_model
from recurseg.models import shamann as module

NAMES = ("shamann", "bi_mann", "bi_lstm", "no_memory")
SMALL = {"patch": 4, "stride": 2, "widths": (4, 6), "cell": 5}
MEMORY = {"slots": 6, "word": 4, "heads": 2}


def parameters(name="shamann", **options):
    model = create_model(name, in_channels=1, num_classes=1, **options)
    return sum(parameter.numel() for parameter in model.parameters())


def small(name, **options):
    torch.manual_seed(0)
    memory = MEMORY if name in ("shamann", "bi_mann") else {}
    return create_model(name, in_channels=1, num_classes=2, **SMALL, **memory, **options)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"strength": False}, 6_290_539),
        ({}, 6_299_053),
        ({"strength": False, "read_merge": "concat"}, 10_320_747),
        ({"strength": False, "read_merge": "mean"}, 5_241_707),
    ],
    ids=str,
)
def test_the_x_ray_network_has_the_parameters_counted_for_each_reading(options, count):
    assert parameters(**options) == count
    assert parameters("bi_mann", **options) == count


def test_levels_bring_a_patch_down_to_about_five_voxels():
    assert module.default_widths((160, 160)) == (8, 16, 32, 64, 128, 256)
    assert module.default_widths((40, 40)) == (8, 16, 32, 64)
    assert module.default_widths((8, 8)) == (8, 16)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "orders", [("forward",), ("forward", "backward"), ("forward", "backward", "snake", "spiral")]
)
def test_prediction_in_chunks_equals_prediction_in_one_piece(name, orders, monkeypatch):
    model = small(name, orders=orders).eval()
    image = torch.randn(2, 1, 11, 9)
    with torch.no_grad():
        whole, state = model(image, return_state=True)
        for patches in (len(orders), 7 * len(orders), 16):
            monkeypatch.setattr(module, "PATCHES_AT_ONCE", patches)
            pieces, last = model(image, return_state=True)
            torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=1e-6)
            if state is not None:
                torch.testing.assert_close(last, state, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES[:3])
def test_training_in_chunks_gives_the_same_logits_and_cuts_the_gradient(name):
    whole, cut = small(name), small(name, chunk=3)
    for model in (whole, cut):
        model.train()
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval()  # statistics of a chunk are not those of the whole
    image = torch.randn(1, 1, 8, 8)
    logits = [model(image) for model in (whole, cut)]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    gradients = []
    for model, found in zip((whole, cut), logits, strict=True):
        found[..., -1, -1].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.actors.parameters()]))
    assert not torch.allclose(*gradients, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_volumes_are_read_as_patches_too(name):
    model = small(name, spatial_dims=3)
    volume = torch.randn(1, 1, 3, 7, 6)
    assert model(volume).shape == (1, 2, 3, 7, 6)


def reach(name, **options):
    """Which pixels of an image the logits of its middle depend on."""
    model = small(name, **options).eval()
    image = torch.randn(1, 1, 21, 21, requires_grad=True)
    model(image)[0, :, 10, 10].sum().backward()
    return image.grad[0, 0].abs() > 0


def test_without_memory_a_patch_knows_of_no_other():
    seen = reach("no_memory")
    assert seen[10, 10]
    assert not seen[:4].any()
    assert not seen[:, -4:].any()


@pytest.mark.parametrize("name", NAMES[:3])
def test_with_memory_the_whole_image_matters(name):
    assert reach(name).float().mean() > 0.9


def test_only_a_shared_memory_tells_one_actor_what_the_other_read():
    """The first clock of the backward actor, which reads the last patch: what does the first patch do to it?"""
    for name, expected in (("shamann", True), ("bi_mann", False)):
        model = small(name).eval()
        inputs = torch.randn(2, 1, 3, 5, requires_grad=True)
        outputs, _ = model.actors(inputs, None)
        outputs[1, 0, 0].sum().backward()
        assert bool(inputs.grad[0, 0, 0].abs().sum() > 0) is expected


def test_regression_gives_the_values_of_an_image():
    model = create_model("shamann", in_channels=1, num_classes=1, task="regression", **SMALL, **MEMORY)
    assert model.task == "regression"
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 5}, "gaps"),
        ({"patch": 6, "widths": (4, 4, 4)}, "halved"),
        ({"orders": ("sideways",)}, "sideways"),
        ({"orders": ()}, "at least one"),
        ({"read_merge": "sum"}, "read_merge"),
        ({"addressing": "lru"}, "addressing"),
        ({"spatial_dims": 4}, "spatial_dims"),
        ({"task": "classification"}, "task"),
        ({"patch": (4, 4, 4)}, "size"),
    ],
    ids=str,
)
def test_impossible_options_are_one_clear_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        create_model("shamann", in_channels=1, num_classes=1, **{**SMALL, **MEMORY, **options})
    assert "\n" not in str(caught.value)
