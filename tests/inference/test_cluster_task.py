"""What travels to a worker, and what a worker refuses."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from recurseg.data.case import Case
from recurseg.errors import ConfigError
from recurseg.inference.cluster_task import Job, Loading, pack, predict_packed
from recurseg.inference.inputs import collect

pytest.importorskip("ray", reason="Ray is not installed: pip install 'recurseg[ray]'")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    nib.Nifti1Image(np.ones((40, 40, 40), np.int16), np.eye(4)).to_filename(tmp_path / "head.nii.gz")
    (found,) = collect([tmp_path / "head.nii.gz"], ["image"]).cases
    return found


def test_a_case_travels_as_a_path_and_is_unpacked_where_it_is_predicted(case: Case) -> None:
    here = Path(case.reference.array.file)  # pyright: ignore[reportAttributeAccessIssue]
    assert case.reference.array[...].all()
    packed = pack(case)
    assert len(packed) < 2000
    array = pickle.loads(packed).reference.array
    assert Path(array.file) != here
    assert array[...].all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"token": Path("/nowhere")},
            r"node .* does not see /nowhere: .* on a file system that all nodes share",
        ),
        ({"version": "0.0.1"}, r"node .* has recurseg .*, this machine 0.0.1: install one version on all nodes"),
    ],
)
def test_a_node_that_differs_stops_the_run_in_one_line(
    case: Case, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    loading = Loading(tmp_path, "", "cpu", 1, (16, 16), "float32", None, None, None)
    job = Job(loading, {}, {}, "label", tmp_path, tmp_path)
    with pytest.raises(ConfigError, match=message):
        predict_packed(replace(job, **changes), pack(case), None)
