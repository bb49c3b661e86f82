from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from recurseg.cli.models import models


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(models)
    return lambda *arguments: CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_table_names_every_model_with_its_parameters(run):
    shown = run().stdout
    for text in ("light_unet", "454,505", "31,030,593", "pyramid_lstm", "Ronneberger"):
        assert text in shown


def test_json_is_one_document(run):
    found = {model["name"]: model for model in json.loads(run("--json").stdout)}
    assert found["light_unet"]["parameters"] == 454_505
    assert found["unet"]["options"]["widths"] == [64, 128, 256, 512, 1024]
