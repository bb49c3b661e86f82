"""Some classes of a data set are learned and the others become background."""

import numpy as np
import pytest
from PIL import Image

from recurseg.data.classes import only_classes
from recurseg.data.dataset import open_dataset
from recurseg.data.labels import class_labels
from recurseg.errors import ConfigError

VALUES = np.array([[0, 85, 170, 255]] * 4, np.uint8)


@pytest.fixture
def heart(tmp_path):
    for name in ("image", "label"):
        Image.fromarray(VALUES).save(tmp_path / f"{name}.png")
    (tmp_path / "dataset.yaml").write_text(
        "schema_version: 1\nname: heart\nmodalities: [MR]\n"
        "classes: {0: background, 1: right ventricle, 2: myocardium, 3: left ventricle}\n"
        "label_map: {0: 0, 85: 1, 170: 2, 255: 3}\n"
        "cases: [{id: a, images: {MR: image.png}, label: label.png}]\n"
    )
    return open_dataset(tmp_path)


def test_the_named_class_is_1_and_the_others_are_background(heart):
    left = only_classes(heart, ["left ventricle"])
    assert left.class_names == ["background", "left ventricle"]
    np.testing.assert_array_equal(class_labels(left.cases[0]), [[0, 0, 0, 1]] * 4)


def test_classes_are_counted_in_the_order_in_which_they_are_named(heart):
    two = only_classes(heart, ["left ventricle", "right ventricle"])
    np.testing.assert_array_equal(class_labels(two.cases[0]), [[0, 2, 0, 1]] * 4)


def test_no_names_leave_all_classes(heart):
    assert only_classes(heart, []) is heart


@pytest.mark.parametrize(
    ("names", "said"),
    [(["left ventricel"], "left ventricle"), (["background"], "no class"), (["myocardium"] * 2, "twice")],
)
def test_a_wrong_class_is_one_clear_line(heart, names, said):
    with pytest.raises(ConfigError, match=said):
        only_classes(heart, names)
