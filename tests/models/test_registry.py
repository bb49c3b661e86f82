"""Models by name, and how a user's own come in."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from recurseg.errors import ConfigError
from recurseg.models import create_model, list_models, load_plugin, model_names, register_model, registry

PLUGIN = """
import torch
from recurseg.models import register_model

@register_model("{name}", paper="A user, this year")
class Threshold(torch.nn.Module):
    task, spatial_dims, sequence_axis = "segmentation", 2, None

    def __init__(self, *, in_channels, num_classes, slope=1.0):
        super().__init__()
        torch.linspace(0, 1, 3).tolist()
        self.head = torch.nn.Conv2d(in_channels, num_classes, 1)
        self.slope = slope

    def forward(self, image, state=None, *, present=None, return_state=False):
        logits = self.slope * self.head(image)
        return (logits, None) if return_state else logits
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's empty working folder; what is registered while a test runs is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(registry, "_plugins", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - known:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(sys.modules[module].__file__):
            del sys.modules[module]


def test_names_come_without_importing_torch():
    code = "import sys, recurseg.models as m; m.model_names(); print('torch' in sys.modules, 'monai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_listed_parameters_are_those_of_the_model():
    for info in list_models():
        model = create_model(info.name, in_channels=1, num_classes=1)
        assert info.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert (info.task, info.spatial_dims, info.sequence_axis) == (
            model.task,
            model.spatial_dims,
            model.sequence_axis,
        )
        assert info.paper


def test_listed_options_can_be_given_back():
    for info in list_models():
        with torch.device("meta"):
            create_model(info.name, in_channels=1, num_classes=2, **info.options)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="unknown model 'light_unt'; did you mean 'light_unet'"):
        create_model("light_unt", in_channels=1, num_classes=2)


def test_unknown_option_gets_the_nearest():
    with pytest.raises(ConfigError, match="'unet' has no option 'width'; did you mean 'widths'"):
        create_model("unet", in_channels=1, num_classes=2, width=(8, 16))


@pytest.mark.parametrize("widths", [3, (), "wide", (8, -16), ((8,),)], ids=str)
def test_impossible_option_is_one_line(widths):
    with pytest.raises(ConfigError, match=r"unet.*widths") as caught:
        create_model("unet", in_channels=1, num_classes=2, widths=widths)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("counts", [(0, 2), (1, 0), (-1, 2)], ids=str)
def test_channels_and_classes_start_at_one(counts):
    with pytest.raises(ConfigError, match="must be at least 1"):
        create_model("unet", in_channels=counts[0], num_classes=counts[1])


def test_plugin_of_the_working_folder_is_a_model_like_any_other(folder):
    (folder / "my_threshold.py").write_text(PLUGIN.format(name="threshold"))
    assert load_plugin("my_threshold") == ["threshold"]
    assert load_plugin("my_threshold") == ["threshold"]
    model = create_model("threshold", in_channels=2, num_classes=3, slope=2.0)
    assert model(torch.zeros(1, 2, 5, 7)).shape == (1, 3, 5, 7)
    info = {info.name: info for info in list_models()}["threshold"]
    assert (info.parameters, info.options, info.paper) == (2, {"slope": 1.0}, "A user, this year")
    with pytest.raises(ConfigError, match="did you mean 'slope'"):
        create_model("threshold", in_channels=1, num_classes=1, slop=1)


def test_plugin_that_was_imported_before_is_found(folder, monkeypatch):
    (folder / "my_early.py").write_text(PLUGIN.format(name="early"))
    monkeypatch.syspath_prepend(folder)
    __import__("my_early")
    assert load_plugin("my_early") == ["early"]


def test_installed_package_offers_models_by_entry_point(folder, monkeypatch):
    (folder / "threshold_package.py").write_text(PLUGIN.format(name="installed"))
    metadata = folder / "threshold_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: threshold-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[recurseg.models]\ninstalled = threshold_package\n")
    monkeypatch.syspath_prepend(folder)
    assert "installed" in model_names()
    assert "threshold_package" not in sys.modules
    assert create_model("installed", in_channels=1, num_classes=2)(torch.zeros(1, 1, 4, 4)).shape == (1, 2, 4, 4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "no module 'my_plugin' in .* without .py"),
        ("x = 1", "registers no model: decorate"),
        ("import a_module_that_is_not_there", "needs the module 'a_module_that_is_not_there': install it"),
        ("x = 1 / 0", "fails to import: ZeroDivisionError"),
        (PLUGIN.format(name="unet"), "a model 'unet' exists already: choose another name"),
    ],
    ids=["absent", "nothing registered", "dependency missing", "broken", "name taken"],
)
def test_plugin_that_does_not_work_is_one_line(folder, source, message):
    if source is not None:
        (folder / "my_plugin.py").write_text(source)
    with pytest.raises(ConfigError, match=message) as caught:
        load_plugin("my_plugin")
    assert "\n" not in str(caught.value)


def test_model_must_say_what_it_takes(folder):
    @register_model("silent")
    class Silent(torch.nn.Module):
        task = "segmentation"

        def __init__(self, *, in_channels, num_classes):
            super().__init__()

    with pytest.raises(ConfigError, match="lacks spatial_dims, sequence_axis"):
        create_model("silent", in_channels=1, num_classes=1)
