"""`dataset.yaml`: readable, editable, strict."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from recurseg.data import manifest as manifest_module
from recurseg.data.dataset import open_dataset
from recurseg.data.manifest import CaseEntry, DatasetManifest, read_manifest, relocate, save_manifest, write_manifest
from recurseg.errors import ConfigError, DataError


def small(**changes) -> dict:
    document = {
        "schema_version": 1,
        "name": "demo",
        "modalities": ["T1"],
        "classes": {0: "background", 1: "lesion"},
        "cases": [{"id": "a", "images": {"T1": "a.png"}, "label": "a_seg.png"}],
    }
    return {**document, **changes}


def on_disk(folder: Path, document) -> Path:
    path = folder / "dataset.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def test_written_manifest_reads_back_equal(tmp_path):
    manifest = DatasetManifest(
        name="ü",
        modalities=["T1", "FLAIR"],
        classes={0: "background", 1: "lesion"},
        label_map={0: 0, 255: 1},
        regions={"whole": [1]},
        channels={"FLAIR": 2},
        spacing=(1.0, 1.0, 3.0),
        splits={"val": ["01"]},
        cases=[
            CaseEntry(id="01", patient="p", images={"T1": "a.nii.gz", "FLAIR": ["b0.png", "b1.png"]}, tags=["child"])
        ],
    )
    write_manifest(manifest, tmp_path / "dataset.yaml")
    assert read_manifest(tmp_path / "dataset.yaml") == manifest


def test_schema_version_stands_first_and_numbers_stay_numbers(tmp_path):
    manifest = DatasetManifest.model_validate(small(label_map={0: 0, 255: 1}))
    write_manifest(manifest, tmp_path / "dataset.yaml")
    text = (tmp_path / "dataset.yaml").read_text()
    assert text.startswith("schema_version: 1\n")
    assert yaml.safe_load(text)["label_map"] == {0: 0, 255: 1}
    assert [p.name for p in tmp_path.iterdir()] == ["dataset.yaml"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"modalitis": ["T1"]}, "unknown key 'modalitis'; did you mean 'modalities'?"),
        (
            {"cases": [{"id": "a", "images": {"T1": "a"}, "lable": "b"}]},
            "unknown key 'cases.0.lable'; did you mean 'label'",
        ),
        ({"cases": [{"id": 1, "images": {"T1": "a"}}]}, "write it in quotes"),
        ({"cases": []}, "cases"),
        ({"cases": [{"id": "../../etc/x", "images": {"T1": "a"}}]}, "cannot name a file"),
        ({"classes": {0: "background", 2: "lesion"}}, "without gaps"),
        ({"label_map": {0: 0, 7: 5}}, "class 5"),
        ({"not_evaluated": [2]}, "class 2, which is not a foreground class"),
        ({"not_evaluated": [0]}, "class 0, which is not a foreground class"),
        ({"not_evaluated": [1]}, "leaves no class to measure"),
        ({"regions": {"core": [1, 2]}}, "region 'core' names class 2, which classes does not have"),
        ({"regions": {"core": [0, 1]}}, "region 'core' must name foreground classes"),
        ({"regions": {"core": [1, 1]}}, "each once"),
        ({"regions": {"core": []}}, "region 'core' must name"),
        ({"regions": {"core": [1]}, "classes": {}}, "region 'core' names class 1"),
        ({"channels": {"T2": 0}}, "channels names modality 'T2'"),
        ({"spacing": [1, 0, 1]}, "positive millimetres"),
        ({"splits": {"val": ["b"]}}, "split 'val' names case 'b'"),
        ({"cases": [{"id": "a", "images": {"T1": "a"}, "tags": ["large lesion"]}]}, "single words"),
        ({"cases": [{"id": "a", "images": {"T1": "a"}, "tags": ["child", "child"]}]}, "each given once"),
        ({"schema_version": 99}, "newer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, change, said):
    path = on_disk(tmp_path, small(**change))
    with pytest.raises(ConfigError) as error:
        read_manifest(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "\x00", ""], ids=["broken", "list", "control", "empty"])
def test_a_file_that_is_no_manifest_is_said_in_one_line(tmp_path, text):
    with pytest.raises(ConfigError) as error:
        read_manifest(on_disk(tmp_path, text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["name: [a\ncases: b", "name: a\n\tcases: b", "name: a\n- b", "name: @a"])
def test_a_mistake_in_yaml_is_told_in_the_same_words_with_and_without_libyaml(tmp_path, monkeypatch, text):
    path, told = on_disk(tmp_path, text), []
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"line [12]") as error:
            read_manifest(path)
        told.append(str(error.value))
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert told[0] == told[1]


def test_yaml_is_data_only(tmp_path):
    path = on_disk(tmp_path, "name: !!python/object/apply:os.system ['touch hacked']\n")
    with pytest.raises(ConfigError):
        read_manifest(path)


def test_an_older_version_is_migrated(tmp_path, monkeypatch):
    def migrate(document):
        document = dict(document)
        document["modalities"] = document.pop("channels")
        return document

    monkeypatch.setattr(manifest_module, "_MIGRATIONS", {0: migrate})
    document = small(schema_version=0, channels=["T1"])
    del document["modalities"]
    read = read_manifest(on_disk(tmp_path, document))
    assert read.modalities == ["T1"]
    assert read.schema_version == 1


def test_relocated_paths_lead_to_the_same_files(tmp_path):
    manifest = DatasetManifest.model_validate(small())
    moved = relocate(manifest, tmp_path / "data", tmp_path / "elsewhere" / "deep")
    assert moved.cases[0].images == {"T1": "../../data/a.png"}
    assert moved.cases[0].label == "../../data/a_seg.png"


def test_a_folder_is_written_down_edited_and_opened_again(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abc":
        picture(tmp_path / "data" / "images" / f"{name}.png", rng.integers(0, 200, (6, 8)))
        picture(tmp_path / "data" / "masks" / f"{name}.png", np.eye(6, 8) * 255)
    opened = open_dataset(tmp_path / "data")
    save_manifest(opened.manifest, opened.root, tmp_path / "mine.yaml")

    document = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert document["classes"] == {0: "background", 1: "foreground"}
    document["classes"][1] = "diagonal"
    document["splits"] = {"val": ["b"]}
    document["spacing"] = [0.5, 0.25]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))

    dataset = open_dataset(tmp_path / "mine.yaml")
    assert dataset.class_names == ["background", "diagonal"]
    assert dataset.cases[0].spacing == (0.5, 0.25)
    assert [case.id for case in dataset.cases] == ["a", "b", "c"]


def test_a_manifest_that_is_there_is_never_overwritten(tmp_path):
    picture(tmp_path / "data" / "x.png", np.zeros((4, 4)))
    (tmp_path / "mine.yaml").write_text("precious")
    opened = open_dataset(tmp_path / "data")
    with pytest.raises(ConfigError, match="is there already"):
        save_manifest(opened.manifest, opened.root, tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "precious"


def test_a_manifest_inside_a_folder_goes_before_recognition(tmp_path):
    picture(tmp_path / "a.png", np.arange(16).reshape(4, 4))
    picture(tmp_path / "a_seg.png", np.eye(4) * 9)
    picture(tmp_path / "b.png", np.arange(16).reshape(4, 4))
    on_disk(tmp_path, small(label_map={0: 0, 9: 1}))
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["a"]
    with pytest.raises(ConfigError, match="--as images"):
        open_dataset(tmp_path, as_="images")


def test_the_words_that_mark_a_case_stay_with_it_and_its_sections(tmp_path):
    names = ["0.png", "1.png"]
    for name in names:
        picture(tmp_path / name, np.eye(8))
    marked = {"id": "a", "images": {"T1": names}, "label": names, "tags": ["child", "effusion"]}
    on_disk(tmp_path, small(cases=[marked, {"id": "b", "images": {"T1": names}, "label": names}]))
    child, other = open_dataset(tmp_path).cases
    assert child.tags == child.sections(0, 1).tags == ("child", "effusion")
    assert other.tags == ()


def test_a_file_that_the_manifest_names_and_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"case a: .*a\.png: no such file"):
        open_dataset(on_disk(tmp_path, small()))


def test_a_byte_budget_in_the_manifest_is_kept(tmp_path):
    picture(tmp_path / "a.png", np.zeros((40, 40)))
    picture(tmp_path / "a_seg.png", np.eye(40))
    with pytest.raises(DataError, match=r"a\.png"):
        open_dataset(on_disk(tmp_path, small(max_case_bytes=100)))
