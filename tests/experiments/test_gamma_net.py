"""The tables of the thesis on gamma-Net run from end to end at the smallest scale."""

from __future__ import annotations

import math

import pytest

from recurseg.experiments import find_table
from recurseg.experiments.measured import values
from recurseg.experiments.plot import write_plots
from recurseg.experiments.rows import reproduce
from recurseg.experiments.table import list_tables

TABLES = [id for id in list_tables() if id.startswith("gamma_net/")]


@pytest.mark.parametrize("id", TABLES)
def test_every_table_runs_at_the_smallest_scale(id, tmp_path):
    table = find_table(id)
    entries = list(reproduce(table, scale="smoke", results=tmp_path / "results", work=tmp_path / "work"))
    done = [entry for entry in entries if entry.result]
    assert {entry.row.id for entry in done} == {row.id for row in table.rows if row.smoke}
    for entry in done:
        found = values(table, entry.result)
        learned = entry.result.recipe["classes"]
        for m in table.measures:
            there = (table.smoke.elsewhere or not m.elsewhere) and (not learned or m.class_name in (None, *learned))
            assert math.isnan(found[m.name]) != there, (entry.row.id, m.name)
    for path in write_plots(table, done, tmp_path / "results", "smoke"):
        assert path.stat().st_size > 1000


def test_a_network_that_is_tuned_starts_from_the_weights_of_its_row(tmp_path):
    from safetensors.torch import load_file

    from recurseg.training.run import Run

    table = find_table("gamma_net/table5_2")
    rows = ["light_unet", "light_unet_tuned"]
    first, tuned = reproduce(table, rows=rows, scale="smoke", results=tmp_path / "results", work=tmp_path / "work")
    assert Run(tuned.run).manifest["asked"]["init"] == str(first.run)
    assert Run(tuned.run).manifest["data"].endswith("cardiac_cine_b-smoke")
    weights = [load_file(entry.run / "package" / "weights.safetensors") for entry in (first, tuned)]
    kernels = [key for key, weight in weights[0].items() if weight.ndim == 4]
    moved = max(float((weights[0][key] - weights[1][key]).abs().max()) for key in kernels)
    assert moved < 0.1  # two updates away, where another draw of the weights would be further


def test_tuning_before_there_is_anything_to_tune_is_one_clear_line(tmp_path):
    from recurseg.errors import ConfigError

    table = find_table("gamma_net/table5_2")
    with pytest.raises(ConfigError, match="reproduce that row first"):
        list(reproduce(table, rows=["light_unet_tuned"], scale="smoke", results=tmp_path, work=tmp_path / "work"))
