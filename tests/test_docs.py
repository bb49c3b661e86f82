"""Every command and program in the README and the documentation does what it says: each page is run in a folder.

A comment right before a block says what a reader does not see:

    <!-- test: `--steps 2` for `--minutes 15` -->   what is run instead, to save time
    <!-- test: slow -->                             takes minutes: run by `pytest -m slow`
    <!-- test: skip REASON -->                      not run here

and a comment `<!-- test: first ... -->` anywhere holds commands that make what the page takes for granted.

A block with a title is a file and is written; in a console block the lines after `$` are run, and what they print is
compared, `...` standing for anything.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from recurseg.cli.main import main
from recurseg.experiments import Ledger, find_table
from recurseg.experiments.show import values
from recurseg.models import registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(bash|python|console|yaml)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!-- test: (.*?)\s*-->", re.DOTALL)
LOADED = re.compile(r"<(?:script|img|iframe|link)[^>]+(?:src|href)=\"?(https?:[^\">]+)")
SHELL_SIGNS = set("$|&;<>*?`(){}~#")


@dataclass(frozen=True)
class Block:
    """A code block of a page and what its comments say."""

    page: Path
    line: int
    language: str
    title: str | None
    code: str
    skip: str | None
    slow: bool

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found, end = [], 0
    for fence in FENCE.finditer(text):
        language, info, code = fence.groups()
        comments = COMMENT.findall(text[end : fence.start()])
        end = fence.end()
        title = re.search(r'title="(.+?)"', info)
        if language == "yaml" and not title:
            continue
        for short, printed in (swap for comment in comments for swap in re.findall(r"`(.+?)` for `(.+?)`", comment)):
            assert printed in code, f"{page}: '{printed}' is not in the block that follows"
            code = code.replace(printed, short)
        found.append(
            Block(
                page=page,
                line=text[: fence.start()].count("\n") + 1,
                language=language,
                title=title[1] if title else None,
                code=code,
                skip=next((c[5:].strip() for c in comments if c.startswith("skip ")), None),
                slow="slow" in comments,
            )
        )
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Page → folder in which its blocks run one after the other; what several pages take for granted is made once."""
    made: dict[str, Path] = {}
    pages: dict[Path, Path] = {}

    def folder_for(page: Path) -> Path:
        if page not in pages:
            pages[page] = tmp_path_factory.mktemp(page.stem)
            for commands in re.findall(r"<!-- test: first\n(.*?)-->", page.read_text(), re.DOTALL):
                if commands not in made:
                    made[commands] = tmp_path_factory.mktemp("first")
                    run_bash(commands, made[commands])
                shutil.copytree(made[commands], pages[page], dirs_exist_ok=True)
        return pages[page]

    return folder_for


@pytest.fixture(autouse=True)
def _plugins_are_forgotten(monkeypatch):
    """What a page registers is gone after it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for names in registry._plugins.values() for name in names]:
        registry._entries.pop(name, None)
    for module in registry._plugins:
        sys.modules.pop(module, None)
    registry._plugins.clear()


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.name, marks=[pytest.mark.slow] if b.slow else []) for b in BLOCKS]
)
def test_the_block_runs(block, folders, monkeypatch):
    if block.skip:
        pytest.skip(block.skip)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    folder = folders(block.page)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")
    if block.title:
        Path(block.title).write_text(block.code)
    elif block.language == "python":
        exec(compile(block.code, block.name, "exec"), {"__name__": "__main__"})
    elif block.language == "bash":
        run_bash(block.code, folder)
    else:
        run_console(block.code, folder)


def run_bash(code: str, folder: Path) -> None:
    for command in commands_of(code):
        status, printed = run_command(command, folder)
        assert status == 0, f"{command}\nexit code {status}\n{printed}"


def run_console(code: str, folder: Path) -> None:
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        status, printed = run_command(command, folder)
        pattern = ".*".join(re.escape(piece.strip("\n")) for piece in expected.split("..."))
        assert re.search(pattern, printed, re.DOTALL), f"{command}\nexpected\n{expected}\nprinted\n{printed}"
        assert (status != 0) == ("error" in expected), f"{command}\nexit code {status}\n{printed}"


def commands_of(code: str) -> list[str]:
    """The commands of a block, each with its continuation lines, without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def run_command(command: str, folder: Path) -> tuple[int, str]:
    """Runs one command in a folder; `recurseg` itself in this process, which has its libraries loaded already."""
    command = re.sub(r"\s# .*", "", command)
    if not command.startswith("recurseg ") or SHELL_SIGNS & set(command):
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.returncode, done.stdout
    printed = io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = main(shlex.split(command)[1:])
    finally:
        os.chdir(before)
    return status, printed.getvalue()


def test_the_site_builds_and_loads_nothing_from_the_network():
    with tempfile.TemporaryDirectory() as site:
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        pages = list(Path(site).rglob("*.html"))
        assert len(pages) > 10
        for page in pages:
            loaded = LOADED.findall(page.read_text())
            assert loaded == [], page


def test_the_readme_names_every_model():
    from recurseg.models import model_names

    readme = (ROOT / "README.md").read_text()
    missing = [name for name in model_names() if f"`{name}`" not in readme]
    assert missing == []


def in_the_em_table(found):
    return [f"{found[name]:.3g}" for name in ("wrong pixels at 0.5", "Rand error", "warping error ×1000")]


def in_the_lung_table(found):
    dice, failures = f"{found['Dice %']:.2f} ± {found['± sd']:.2f}", f"{found['failures (Dice < 0.9)']:.0f}"
    return [dice, failures, f"{found['peak memory, GiB']:.1f}"]


def in_the_digit_table(found):
    return [f"{found['accuracy %']:.1f}", f"{found['Dice']:.3f}", f"{found['MSE']:.4f}"]


def in_the_road_table(found):
    return [f"{found['MeanIU %']:.1f}"]


def in_the_modality_table(found):
    return [f"{found[name]:.1f}" for name in ("Dice %, all modalities", "mean over subsets", "lost over subsets")]


def in_the_heart_table(found):
    return [f"{found['Dice LV, final']:.3f}", f"{found['EF error, points']:.1f}"]


def in_the_path_table(found):
    return [f"{found['accuracy %']:.1f}"]


def in_the_lesion_table(found):
    return [f"{found[name]:.1f}" for name in ("sample Dice %", "voxel Dice %", "lesion F1 %")]


def in_the_patient_table(found):
    return [f"{found[name]:.1f}" for name in ("Dice %", "recall %", "precision %", "lesion F1 %")]


@pytest.mark.parametrize(
    ("id", "source", "heading", "numbers"),
    [
        ("pyramid_lstm/table1", "isbi2012_em", "### Membranes in electron microscopy", in_the_em_table),
        ("shamann/table1", "cxr_lung", "### Lungs in chest radiographs", in_the_lung_table),
        ("shamann/figure4", "mnist", "### Digits completed", in_the_digit_table),
        ("cross_modality/table2", "camvid", "### Road scenes", in_the_road_table),
        ("cross_modality/missing", "brain_tumour", "### Missing modalities", in_the_modality_table),
        ("gamma_net/table5_1", "acdc", "### Left ventricles", in_the_heart_table),
        ("gamma_net/pathfinder", "pathfinder", "### Paths", in_the_path_table),
        ("rsanet/table1", "ms_lesions", "### Lesions", in_the_lesion_table),
        ("rsanet/two_patients", "ms_lesions", "### Lesions", in_the_patient_table),
    ],
)
def test_the_readmes_results_are_those_of_the_ledger(id, source, heading, numbers):
    table = find_table(id)
    section = (ROOT / "README.md").read_text().split(f"{heading}\n")[1].split("\n#")[0]
    shown = {line.split(" | ")[0].removeprefix("| "): line for line in section.splitlines() if line.startswith("| ")}
    for row in table.rows:
        result = Ledger(ROOT / "docs" / "results").read(table.id, source, "small", row.id)
        if result is None:
            assert row.name not in shown
            continue
        minutes = f"{result.seconds / 60:.1f}"
        cells = [row.name, f"{result.parameters:,}", f"{result.steps:,}", minutes, *numbers(values(table, result))]
        assert shown[row.name] == "| " + " | ".join(cells) + " |"
