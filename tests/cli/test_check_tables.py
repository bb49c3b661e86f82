"""What `recurseg check` prints can be read in a terminal of 80 columns."""

from __future__ import annotations

import io

from rich.console import Console

from recurseg.cli.check_tables import tables
from recurseg.data.check_report import CaseReport, CheckReport, Intensity

ROAD = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist"]
FOUR = ["background", "right ventricle", "myocardium", "left ventricle"]


def report(classes: list[str], modalities: list[str], ids: list[str], **more) -> CheckReport:
    def case(number: int, id: str) -> CaseReport:
        shares = [number + 1.0, *range(1, len(classes))][: len(classes)]
        facts = {
            "patient": id,
            "format": "nifti",
            "shape": [240, 240, 155],
            "spacing_mm": [1.0, 1.0, 1.0],
            "spacing_known": True,
            "orientation": "LPS",
            "intensity": {m: Intensity(minimum=-12.25, maximum=1678, mean=0, not_finite=0) for m in modalities},
            "fractions": {name: share / sum(shares) for name, share in zip(classes, shares, strict=True)} or None,
        }
        return CaseReport.model_validate({"id": id, **facts, **more})

    return CheckReport(
        name="d",
        root="/d",
        layout="manifest",
        modalities=modalities,
        classes=dict(enumerate(classes)),
        label_map={},
        splits={},
        notes=[],
        cases=[case(number, id) for number, id in enumerate(ids)],
        problems=[],
    )


def printed(found: CheckReport, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in tables(found, width):
        console.print(table)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    return text


def test_few_short_classes_are_columns():
    text = printed(report(["background", "lesion"], ["FLAIR"], ["patient07", "patient19"]))
    assert "lesion %" in text
    assert "patient07" in text
    assert "mean %" not in text


def test_many_classes_are_rows_of_their_own_table():
    text = printed(report(ROAD, ["red", "green", "blue"], ["train_0001TP", "train_0016E5_1"]))
    lines = text.splitlines()
    assert all(any(line.split()[:1] == [name] for line in lines) for name in ROAD)
    assert any("green -12.25 to 1678" in line for line in lines)
    assert any(line.strip().startswith("train_0016E5_1") and "240 × 240 × 155" in line for line in lines)


def test_a_row_of_a_class_says_its_share_and_where_it_occurs():
    found = report(FOUR, ["MR"], ["patient001_frame01", "patient001_frame12"])
    for case, share in zip(found.cases, (0.25, 0.0), strict=True):
        case.fractions = {**dict.fromkeys(FOUR, 0.25), "right ventricle": share}
    row = next(line for line in printed(found).splitlines() if line.strip().startswith("right ventricle"))
    assert row.split()[2:] == ["12.5", "0", "25", "1", "of", "2"]


def test_wide_terminals_show_every_class_of_every_case():
    assert "cyclist %" in printed(report(ROAD, ["red"], ["a"]), width=250)


def test_a_film_has_its_frames_their_time_and_its_phases():
    found = report(
        FOUR,
        ["MR"],
        ["patient001"],
        frames=30,
        frame_seconds=0.0333,
        labelled_frames=[0, 11],
        phases={"ED": 0, "ES": 11},
    )
    text = printed(found)
    for part in ("30 × 33.3 ms", "2 labelled", "ED 0, ES 11"):
        assert part in text


def test_images_of_a_class_have_it_in_a_column():
    text = printed(report([], ["x"], ["a"], target="joined"))
    assert "joined" in text
    assert "mean %" not in text
