"""A package says all that prediction needs, survives what machines do to files, and runs no code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recurseg.errors import ConfigError, DataError
from recurseg.inference import PackageSpec, load, load_package, package_hash, save_package
from recurseg.models import create_model
from recurseg.preprocess import Preprocessing

MakePackage = Callable[..., Path]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("light_unet", in_channels=2, num_classes=3)
    model(torch.randn(2, 2, 32, 32))  # moves the running means of its batch norms
    spec = PackageSpec(
        model="light_unet",
        in_channels=2,
        num_classes=3,
        modalities=["T1", "T2"],
        class_names=["background", "grey", "white"],
        label_map={0: 0, 100: 1, 200: 2, 255: 255},
        preprocessing=Preprocessing(spacing=(None, 1.0, 1.0), clip_percentiles=(0.5, 99.5)),
        window=(1, 64, 64),
        trained={"steps": 7, "dice": float("nan")},
    )
    folder = save_package(tmp_path / "deep" / "package", model, spec)
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "weights.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == ["package"]
    found, loaded = load_package(folder)
    assert found.model_dump(exclude={"trained"}) == spec.model_dump(exclude={"trained"})
    assert not loaded.training
    image = torch.randn(1, 2, 20, 20)
    torch.testing.assert_close(loaded(image), model.eval()(image), rtol=0, atol=0)
    assert load_file(folder / "weights.safetensors").keys() == model.state_dict().keys()


def test_saving_again_replaces_the_package_and_changes_its_hash(make_package: MakePackage) -> None:
    first = package_hash(make_package())
    assert package_hash(make_package()) == first
    assert package_hash(make_package(overlap=0.5)) != first


def test_predictions_carry_the_first_file_value_of_a_class(make_package: MakePackage) -> None:
    spec, _ = load_package(make_package(label_map={255: 0, 0: 1, 3: 1}))
    assert spec.file_values == [255, 0]
    assert load_package(make_package())[0].file_values == [0, 1]


def test_another_folder_is_not_replaced(make_package: MakePackage, tmp_path: Path) -> None:
    precious = tmp_path / "package" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years")
    with pytest.raises(ConfigError, match="is no package"):
        make_package()
    assert precious.read_text() == "years"


def test_missing_and_damaged_files_are_named_in_one_line(make_package: MakePackage, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match=r"run: holds no package"):
        load(tmp_path / "run")
    folder = make_package("a")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"weights.safetensors: is damaged") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    weights.unlink()
    with pytest.raises(DataError, match=r"weights.safetensors: is missing"):
        load(folder)
    (folder / "model.json").write_text('{"schema_version": 1, "mod')
    with pytest.raises(DataError, match=r"model.json: cannot be read as JSON"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, r"schema_version 99 is not 1"),
        ({"overlapp": 0.5}, r"unknown key 'overlapp'; did you mean 'overlap'"),
        ({"window": [0, 5]}, r"window \(0, 5\) has a side below 1"),
        ({"model": "treshold"}, r"unknown model 'treshold'; did you mean 'threshold'"),
        ({"options": {"above": 1}}, r"no option 'above'"),
        ({"class_names": ["one"]}, r"class_names"),
        ({"label_map": {"7": 0}}, r"no file value for class 1 \(cell\)"),
        ({"modalities": ["a", "b"]}, r"modalities a, b make 2 channels, not 1"),
        ({"preprocessing": {"spacin": None}}, r"unknown key 'preprocessing.spacin'; did you mean 'spacing'"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_a_wrong_model_json_is_explained(make_package: MakePackage, change: dict, message: str) -> None:
    path = make_package() / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=message) as caught:
        load(path.parent)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_do_not_fit(make_package: MakePackage) -> None:
    folder, other = make_package("a"), make_package("b", in_channels=2, modalities=["x", "y"])
    (folder / "weights.safetensors").write_bytes((other / "weights.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"does not fit model 'threshold'.*steepness") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_plugin_is_imported_only_where_the_user_names_it(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_nets.py").write_text(
        "from tests_threshold import Threshold\nfrom recurseg.models import register_model\n\n\n"
        "@register_model('mine')\ndef mine(*, in_channels, num_classes):\n"
        "    return Threshold(in_channels=in_channels, num_classes=num_classes)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "tests_threshold", sys.modules[type(_threshold()).__module__])
    path = make_package() / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "mine", "plugin": "my_nets"}))
    with pytest.raises(ConfigError, match=r"comes from plug-in 'my_nets'"):
        load(path.parent)
    with pytest.raises(ConfigError, match=r"comes from plug-in 'my_nets'"):
        load(path.parent, plugin="os")
    assert "my_nets" not in sys.modules
    assert load(path.parent, plugin="my_nets").predict(np.ones((4, 4))).labels.all()
    with pytest.raises(ConfigError, match=r"needs no plug-in"):
        load(make_package("b"), plugin="my_nets")


def _threshold() -> torch.nn.Module:
    return create_model("threshold", in_channels=1, num_classes=2)
