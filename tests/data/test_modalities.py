"""Some modalities of a data set are seen and the others are not."""

import numpy as np
import pytest
from PIL import Image

from recurseg.data.dataset import open_dataset
from recurseg.data.modalities import only_modalities
from recurseg.errors import ConfigError, DataError
from recurseg.preprocess import Preprocessing, prepare


@pytest.fixture
def brain(tmp_path):
    for value, name in enumerate(("flair", "t1", "t2"), start=1):
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "dataset.yaml").write_text(
        "schema_version: 1\nname: brain\nmodalities: [FLAIR, T1, T2]\nclasses: {0: background, 1: lesion}\n"
        "cases: [{id: a, images: {FLAIR: flair.png, T1: t1.png, T2: t2.png}}, {id: b, images: {FLAIR: flair.png}}]\n"
    )
    return open_dataset(tmp_path)


def test_the_network_sees_the_named_modalities_in_their_order(brain):
    some = only_modalities(brain, ["T2", "FLAIR"])
    assert some.modalities == ["T2", "FLAIR"]
    image = prepare(some.cases[0], Preprocessing(normalise="none"), modalities=some.modalities).image
    assert image[:, 0, 0].tolist() == [3, 1]
    assert some.cases[1].missing == ("T2",)


def test_no_names_leave_all_modalities(brain):
    assert only_modalities(brain, []) is brain


@pytest.mark.parametrize(("names", "said"), [(["FLAIRE"], "did you mean 'FLAIR'"), (["T1", "T1"], "twice")])
def test_a_wrong_modality_is_one_clear_line(brain, names, said):
    with pytest.raises(ConfigError, match=said):
        only_modalities(brain, names)


def test_a_case_without_any_of_them_is_named(brain):
    with pytest.raises(DataError, match="case b"):
        only_modalities(brain, ["T1", "T2"])
