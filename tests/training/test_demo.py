import pytest

from recurseg.errors import ConfigError
from recurseg.training import demo as module
from recurseg.training.demo import demo


def test_the_demo_goes_the_whole_way_and_may_be_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SIZE", (6, 64, 64))
    for _ in range(2):
        made = demo(tmp_path / "demo", minutes=0.02)
        assert (made.run.folder / "report.html").exists()
        assert made.evaluation.value("dice") >= 0
        assert (tmp_path / "demo" / "evaluation.csv").exists()


def test_the_demo_never_replaces_anything_else(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="no demonstration"):
        demo(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
