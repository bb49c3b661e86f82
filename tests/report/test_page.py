"""The page as a reader gets it: one file, whole, honest about what is missing."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import Cardiac, evaluate, read_evaluation
from recurseg.report import write_report

VOID = {"meta", "img", "input", "br", "hr", "link", "line", "path", "circle"}


class Page(HTMLParser):
    """Collects elements and checks that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(run: Path) -> tuple[str, Page]:
    text = write_report(run).read_text(encoding="utf-8")
    return text, Page(text)


def data_of(text: str) -> dict:
    return json.loads(re.search(r'id="page-data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.mark.parametrize("kind", ["stack_run", "image_run", "volume_run"])
def test_page_is_one_whole_file_that_loads_nothing(kind, request):
    run = request.getfixturevalue(kind)
    text, page = read(run)
    assert write_report(run) == run / "report.html"
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    sources = [attributes["src"] for attributes in page.all("img")]
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not page.all("link")
    assert not any("src" in attributes for attributes in page.all("script"))
    assert {a["href"][1:] for a in page.all("a")} <= {a.get("id") for _, a in page.elements}
    assert not list(run.glob(".*"))


def test_page_can_be_used_without_seeing_it(volume_run):
    _, page = read(volume_run)
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    sliders = [a for a in page.all("input") if a["type"] == "range"]
    assert len(sliders) == 2
    labelled = {label.get("for") for label in page.all("label")}
    assert all(slider["id"] in labelled and "pixels wrong" in slider["aria-valuetext"] for slider in sliders)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_few_cases_are_listed_without_interval(volume_run):
    _, page = read(volume_run)
    assert "fewer than 6, so no interval" in page.text
    assert re.search(r"subject_1 0\.\d+, subject_2 0\.\d+", page.text)
    assert "95 % interval" not in page.text


def test_six_cases_and_more_have_an_interval(image_run):
    from scipy.stats import bootstrap

    _, page = read(image_run)
    metrics = json.loads((image_run / "validation" / "metrics.json").read_text())
    dice = [row["value"] for row in metrics["rows"] if row["metric"] == "dice"]
    assert len(dice) == 7
    assert f"{np.mean(dice):.4f}" in page.text
    low, high = map(float, re.search(r"95 % interval ([\d.]+) – ([\d.]+) over 7 held-out cases", page.text).groups())
    expected = bootstrap((dice,), np.mean, n_resamples=9999, rng=np.random.default_rng(5)).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_header_says_what_it_took(stack_run):
    _, page = read(stack_run)
    assert "pyramid_lstm on" in page.text
    for fact in ("10,751,547", "15.0 min", "step 40", "1 trained on, 1 held out"):
        assert fact in page.text


def test_recipe_hashes_machine_and_command_are_there(stack_run):
    text, page = read(stack_run)
    assert "widths fit the minutes" in page.text
    assert "0f" * 32 in page.text
    assert "A processor" in page.text
    assert f"recurseg predict {stack_run} IMAGE... --out predictions" in page.text
    shown = re.search(r'<pre class="yaml">(.*?)</pre>', text, re.DOTALL)[1]
    assert yaml.safe_load(re.sub("</?b>", "", shown)) == yaml.safe_load((stack_run / "recipe.yaml").read_text())


def test_worst_and_median_case_are_drawn(image_run):
    _, page = read(image_run)
    assert "worst case p8" in page.text
    assert "median case p5" in page.text


def test_every_modality_can_be_chosen(volume_run):
    text, page = read(volume_run)
    radios = [a["value"] for a in page.all("input") if a["type"] == "radio"]
    assert radios == ["flair", "t1"] * 2
    assert all(set(section["images"]) == {"flair", "t1"} for case in data_of(text)["cases"] for section in case)


def test_page_without_the_data_says_that_pictures_need_it(stack_run, tmp_path):
    shutil.rmtree(tmp_path / "stack")
    _, page = read(stack_run)
    assert "Pictures need the data set, which could not be opened" in page.text
    assert not page.all("img")
    assert "dice" in page.text


def test_page_says_which_prediction_is_missing(image_run):
    (image_run / "validation" / "p8.png").unlink()
    _, page = read(image_run)
    assert "Case p8 could not be drawn" in page.text
    assert "median case p5" in page.text


def test_case_that_changed_its_size_is_named(image_run, tmp_path, make):
    make.images(tmp_path / "radiographs", [f"p{number}" for number in range(9)], size=20)
    _, page = read(image_run)
    assert "its prediction has the grid (32, 40), its label (20, 28)" in page.text


def test_undefined_metrics_are_called_undefined(stack_run):
    path = stack_run / "validation" / "metrics.json"
    document = json.loads(path.read_text())
    for row in document["rows"]:
        row["value"] = None
    path.write_text(json.dumps(document))
    _, page = read(stack_run)
    assert "undefined in the one held-out case" in page.text
    assert "nan" not in page.text.lower().split()
    assert page.text.count("undefined") > len(document["rows"])


def test_unfinished_run_has_a_page(stack_run):
    shutil.rmtree(stack_run / "validation")
    (stack_run / "log.jsonl").unlink()
    manifest = json.loads((stack_run / "manifest.json").read_text())
    for key in ("finished", "seconds", "steps", "best_step"):
        del manifest[key]
    (stack_run / "manifest.json").write_text(json.dumps(manifest))
    _, page = read(stack_run)
    assert "the training has not finished" in page.text
    assert "Nothing was logged" in page.text


def test_names_are_text_never_markup(tmp_path, make):
    evil = "</script><img src=x onerror=alert(1)> \"'&"
    run = make.run(tmp_path / "run", make.stack(tmp_path / "stack"), holdout="4-5", why=[evil], name=evil)
    manifest = json.loads((run / "manifest.json").read_text()) | {"dataset": evil, "class_names": [evil, evil]}
    (run / "manifest.json").write_text(json.dumps(manifest))
    metrics = run / "validation" / "metrics.json"
    document = json.loads(metrics.read_text())
    for row in document["rows"]:
        row["class"] = evil
    metrics.write_text(json.dumps(document))
    text, page = read(run)
    assert "onerror=alert" in page.text
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert data_of(text)["cases"]


def test_noise_of_many_sections_stays_below_five_megabytes(tmp_path, make):
    from PIL import Image

    rng = np.random.default_rng(0)
    data = tmp_path / "noise"
    for z in range(50):
        for folder, array in (
            ("image", rng.integers(0, 256, (224, 224))),
            ("label", 255 * rng.integers(0, 2, (224, 224))),
        ):
            (data / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(data / folder / f"{z:02d}.png", compress_level=1)
    run = make.run(tmp_path / "run", data, holdout="5-49")
    text, _ = read(run)
    assert len(text) < 2_500_000
    (case,) = data_of(text)["cases"]
    assert 1 < len(case) <= 32


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a run folder"):
        write_report(tmp_path)


def test_damaged_manifest_is_named(stack_run):
    (stack_run / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: not valid JSON"):
        write_report(stack_run)


def test_a_pooled_metric_is_the_verdict_where_it_chose_the_checkpoint(tmp_path, make):
    data = make.volumes(tmp_path / "volumes")
    run = make.run(tmp_path / "run", data, holdout="subject_1,subject_2", metric="mean_iou:pooled")
    _, page = read(run)
    (pooled,) = (
        summary["mean"]
        for summary in json.loads((run / "validation" / "metrics.json").read_text())["pooled"]
        if (summary["metric"], summary["class"]) == ("mean_iou:pooled", "mean of classes")
    )
    assert f"{pooled:.4f}" in page.text
    assert "all voxels of 2 held-out cases together (fewer than 6, so no interval)" in page.text
    assert "worst case" in page.text


def test_hearts_have_their_numbers_and_plots_on_the_page(volume_run):
    metrics = volume_run / "validation" / "metrics.json"
    evaluation = read_evaluation(metrics)
    pairs = {"subject_1": (58.0, 60.0), "subject_2": (41.0, 37.0)}
    evaluation.cardiac = Cardiac({patient: {"lv_ef_percent": pair} for patient, pair in pairs.items()})
    evaluation.to_json(metrics)
    _, page = read(volume_run)
    assert "LV EF, % 48.5 49.5 +1.0" in page.text
    assert "58.0 / 60.0" in page.text
    assert [image for image in page.all("img") if (image["src"] or "").startswith("data:image/svg+xml;base64,")]


def test_what_is_no_heart_has_no_such_section(volume_run):
    assert "Hearts" not in read(volume_run)[1].text
    assert "Lesions" not in read(volume_run)[1].text


def test_lesions_are_counted_by_size_on_the_page(volume_run):
    metrics = volume_run / "validation" / "metrics.json"
    labels = {case: np.pad(np.ones((3, 3, 3), np.uint8), (1, 4)) for case in ("subject_1", "subject_2")}
    labels["subject_2"][6, 6, 6] = 1
    found = evaluate({case: np.pad(np.ones((3, 3, 3), np.uint8), (1, 4)) for case in labels}, labels,
                     class_names=["background", "lesion"], spacing=(1, 1, 3))  # fmt: skip
    evaluation = read_evaluation(metrics)
    evaluation.lesions = found.lesions
    evaluation.to_json(metrics)
    _, page = read(volume_run)
    assert "Lesions, case by case" in page.text
    assert "in the labels 3 1 2 0" in page.text
    assert "true-positive rate 0.6667 0.0000 1.0000 undefined" in page.text
    assert "lesion load, ml 0.0825 0.0810 −0.0015" in page.text
    assert "0.0810 / 0.0840" in page.text
