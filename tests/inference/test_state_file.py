"""What a model carries survives on disk, as data."""

import pytest
import torch

from recurseg.errors import DataError
from recurseg.inference.state_file import load_state, save_state


@pytest.mark.parametrize(
    "state",
    [
        None,
        3,
        torch.arange(6.0).view(2, 3).T,
        (torch.zeros(2, dtype=torch.bfloat16), None),
        ((torch.ones(1), torch.zeros(0, 4, dtype=torch.int64)), 5, (None, (torch.tensor(7.0),))),
    ],
    ids=["nothing", "a number", "a view", "a pair", "nested"],
)
def test_comes_back_as_it_was(tmp_path, state):
    save_state(tmp_path / "new" / "state.safetensors", state, stop=4)
    found, notes = load_state(tmp_path / "new" / "state.safetensors")
    assert notes == {"stop": 4}
    torch.testing.assert_close(found, state, rtol=0, atol=0)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["state.safetensors"]


def test_two_views_of_one_map_are_stored_apart(tmp_path):
    both = torch.arange(8.0)
    save_state(tmp_path / "state", list(both.split(4)))
    first, second = load_state(tmp_path / "state")[0]
    assert first.tolist() + second.tolist() == both.tolist()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "state").write_bytes(b"not tensors at all")
    with pytest.raises(DataError, match=r"state: no state to go on from .*: delete it to begin anew"):
        load_state(tmp_path / "state")
