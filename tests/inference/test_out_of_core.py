"""The oracle is the network on the whole volume at once."""

import json
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from recurseg.errors import ConfigError, ResourceError
from recurseg.inference.out_of_core import disk_needed, predict_out_of_core
from recurseg.inference.out_of_core_needs import Layout, memory_needed
from recurseg.models import create_model

SMALL = {"widths": (4, 6), "pixelwise": (5,), "kernel": 3, "init": "orthogonal"}


def make(channels=2, classes=3, **options):
    torch.manual_seed(0)
    return create_model("pyramid_lstm", in_channels=channels, num_classes=classes, **SMALL | options).eval()


def noise(*shape):
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


@torch.no_grad()
def whole(model, image):
    logits = model(torch.from_numpy(image)[None])
    return (torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits)[0].numpy()


def joined(slabs, axis=0):
    """The slabs in one piece, which must follow each other without a gap."""
    parts, end = [], 0
    for start, part in slabs:
        assert start == end
        end += part.shape[1 + axis]
        parts.append(part)
    return np.concatenate(parts, 1 + axis)


def assert_same(found, logits):
    """Logits within 1e-5 of the largest, but for the constant that the softmax takes out of them; labels equal."""
    logits = logits.astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(0))
    np.testing.assert_allclose(np.log(found.astype(np.float64)), expected, rtol=0, atol=1e-5 * abs(logits).max())
    assert (found.argmax(0) == logits.argmax(0)).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("spatial", "options"),
    [
        ((9, 12, 17), {}),
        ((9, 12, 17), {"double_bias": True, "kernel": 5}),
        ((5, 19, 23), {"block": (2, 2)}),
        ((7, 9, 5), {"block": (2, 3, 2), "double_bias": True}),
        ((1, 20, 9), {"block": (2, 2)}),
        ((25, 3, 1), {"widths": (3,), "pixelwise": ()}),
        ((6, 7, 8), {"classes": 1}),
    ],
    ids=["odd", "two_biases", "block", "block_of_all_axes", "one_section", "one_layer", "one_logit"],
)
def test_a_volume_is_predicted_as_if_seen_at_once(tmp_path, spatial, options, axis):
    model, image = make(**options), noise(2, *spatial)
    assert_same(joined(predict_out_of_core(model, image, tmp_path, axis=axis), axis), whole(model, image))


@pytest.mark.parametrize("options", [{}, {"block": (2, 2)}], ids=["pixels", "block"])
def test_an_image_is_predicted_as_if_seen_at_once(tmp_path, options):
    model, image = make(spatial_dims=2, **options), noise(2, 21, 34)
    assert_same(joined(predict_out_of_core(model, image, tmp_path)), whole(model, image))


@pytest.mark.parametrize("layout", [Layout(1, 1, False), Layout(2, 1, True), Layout(4, 3, False), Layout(8, 8, True)])
def test_less_memory_changes_nothing(tmp_path, layout):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model, image = make(), noise(2, 13, 9, 11)
        max_ram = memory_needed(model, image.shape[1:], layout)
        assert_same(joined(predict_out_of_core(model, image, tmp_path, max_ram=max_ram)), whole(model, image))
    finally:
        torch.set_num_threads(threads)


def test_dropout_is_for_training_only(tmp_path):
    model, image = make(dropout=0.5), noise(2, 4, 5, 6)
    expected = whole(model, image)
    assert_same(joined(predict_out_of_core(model.train(), image, tmp_path)), expected)
    assert model.training


def test_progress_grows_to_one_and_nothing_is_left_on_disk(tmp_path):
    told = []
    slabs = predict_out_of_core(make(), noise(2, 9, 10, 11), tmp_path / "new" / "folder", progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    joined(slabs)
    assert not list((tmp_path / "new" / "folder").iterdir())


def test_files_of_others_stay(tmp_path):
    (tmp_path / "mine.txt").touch()
    joined(predict_out_of_core(make(), noise(2, 4, 5, 6), tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_disk_it_takes_is_stated_beforehand(tmp_path):
    model, image, sizes = make(widths=(8, 16, 8), pixelwise=(8, 8)), noise(2, 20, 21, 22), []

    def look(_):
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))

    joined(predict_out_of_core(model, image, tmp_path, progress=look))
    stated = disk_needed(model, image.shape)
    assert max(sizes) <= stated <= 2 * max(sizes)


def test_too_little_disk_is_told_before_any_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**6, 10**6, 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(ResourceError, match=r"needs .* of disk, 1000 B are free: .* --out") as error:
        predict_out_of_core(make(), noise(2, 9, 10, 11), tmp_path)
    assert "\n" not in str(error.value)


def test_too_little_memory_is_told_with_what_is_enough(tmp_path):
    model, image = make(), noise(2, 9, 10, 11)
    with pytest.raises(ResourceError, match=r"9 × 10 × 11 .* needs .* are allowed: raise --max-ram"):
        predict_out_of_core(model, image, tmp_path, max_ram=10**6)


@pytest.mark.parametrize(
    ("model", "shape"), [(make(), (1, 4, 5, 6)), (make(), (2, 5, 6)), (torch.nn.Conv3d(2, 2, 1), (2, 4, 5, 6))]
)
def test_what_it_cannot_take_is_refused(tmp_path, model, shape):
    with pytest.raises(ConfigError):
        predict_out_of_core(model, noise(*shape), tmp_path)


def test_a_network_that_gives_nan_is_told(tmp_path):
    image = noise(2, 4, 5, 6)
    image[0, 0, 0, 0] = np.nan
    with pytest.raises(ConfigError, match="NaN"):
        joined(predict_out_of_core(make(), image, tmp_path))


class Stopped(Exception):
    pass


def interrupted(model, image, folder, **how):
    """Leaves a prediction half done."""

    def stop(fraction):
        if fraction > 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        predict_out_of_core(model, image, folder, progress=stop, **how)


@pytest.mark.parametrize("what", ["image", "weights", "block", "size"])
def test_what_another_prediction_left_is_not_continued(tmp_path, what):
    model, image = make(), noise(2, 9, 10, 12)
    interrupted(model, image, tmp_path)
    if what == "image":
        image = image + 1
    elif what == "weights":
        with torch.no_grad():
            model.sweeps[0].weight_h[3] += 0.1
    elif what == "block":
        model = make(block=(2, 2))
    else:
        image = noise(2, 9, 12, 10)
    assert_same(joined(predict_out_of_core(model, image, tmp_path)), whole(model, image))


@pytest.mark.parametrize("name", ["journal.npz", "volume_1.bricks"])
def test_damaged_files_are_not_continued(tmp_path, name):
    model, image = make(), noise(2, 9, 10, 12)
    interrupted(model, image, tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert_same(joined(predict_out_of_core(model, image, tmp_path)), whole(model, image))


def test_a_prediction_may_begin_anew(tmp_path):
    model, image, told = make(), noise(2, 9, 10, 12), []
    interrupted(model, image, tmp_path)
    joined(predict_out_of_core(model, image, tmp_path, resume=False, progress=told.append))
    assert told[0] < 0.5


@pytest.mark.parametrize("then", [Layout(2, 2, False), Layout(8, 8, False)], ids=["less", "more"])
def test_a_prediction_goes_on_with_another_amount_of_memory(tmp_path, then):
    model, image, told = make(), noise(2, 9, 10, 12), []
    interrupted(model, image, tmp_path, max_ram=memory_needed(model, image.shape[1:], Layout(4, 4, False)))
    max_ram = memory_needed(model, image.shape[1:], then)
    slabs = joined(predict_out_of_core(model, image, tmp_path, max_ram=max_ram, progress=told.append))
    assert_same(slabs, whole(model, image))
    assert (told[0] > 0.5) == (then.longest == 8), "bricks stay as they are where they fit"


KILLED = '''
import json, os, signal, sys
from pathlib import Path
import numpy as np, torch
from recurseg.inference import bricks, out_of_core
from recurseg.models import create_model

torch.set_num_threads(1)
torch.manual_seed(0)
model = create_model("pyramid_lstm", in_channels=1, num_classes=2, widths=(3, 4), pixelwise=(3,), kernel=3)
image = np.random.default_rng(0).standard_normal((1, 17, 18, 19), dtype=np.float32)
out = Path(sys.argv[1])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def later(call, count, before=lambda *given: None):
    """The function as it is until its call number `count`, which never comes back."""
    left = iter(range(count))
    def instead(*given):
        if next(left, None) is None:
            before(*given)
            die()
        return call(*given)
    return instead

def half(brick, axis, index, slab):
    torn = slab.copy()
    torn[:, : slab.shape[1] // 2] = 1e6
    whole_write(brick, axis, index, torn)

whole_write = bricks.Bricks.write
POINTS = {
    "copying_the_image": lambda: setattr(bricks.Bricks, "write", later(whole_write, 2)),
    "after_the_first_journal": lambda: setattr(bricks.Bricks, "write", later(whole_write, 3)),
    "between_two_writes": lambda: setattr(bricks.Bricks, "write", later(whole_write, 9)),
    "within_a_write": lambda: setattr(bricks.Bricks, "write", later(whole_write, 13, half)),
    "before_the_journal": lambda: setattr(out_of_core, "write_entry", later(out_of_core.write_entry, 7)),
    "at_the_next_layer": lambda: setattr(bricks.Bricks, "create", later(bricks.Bricks.create, 2)),
    "in_the_next_layer": lambda: setattr(out_of_core, "write_entry", later(out_of_core.write_entry, 12)),
    "giving_slabs": lambda: setattr(out_of_core, "to_probabilities", later(out_of_core.to_probabilities, 1)),
}

def run(name, prepare=lambda: None):
    """Predicts in a process of its own; its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    prepare()
    told = []
    slabs = out_of_core.predict_out_of_core(model, image, out / name, progress=told.append)
    np.save(out / f"{name}.npy", np.concatenate([slab for _, slab in slabs], 1))
    (out / f"{name}.json").write_text(json.dumps(told))
    os._exit(0)

assert run("never") == 0
for name, prepare in POINTS.items():
    assert os.WTERMSIG(run(name, prepare)) == signal.SIGKILL, name
    assert run(name) == 0, name
'''


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Predictions that were killed and begun again, and one that never was."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=True)
    return folder


@pytest.mark.parametrize(
    ("point", "steps_left"),
    [
        ("copying_the_image", 18),
        ("after_the_first_journal", 17),
        ("between_two_writes", 14),
        ("within_a_write", 11),
        ("before_the_journal", 11),
        ("at_the_next_layer", 9),
        ("in_the_next_layer", 6),
        ("giving_slabs", 0),
    ],
)
def test_a_killed_prediction_goes_on_and_ends_the_same_to_the_bit(killed, point, steps_left):
    np.testing.assert_array_equal(np.load(killed / f"{point}.npy"), np.load(killed / "never.npy"))
    assert len(json.loads((killed / "never.json").read_text())) == 18, "two layers, three axes, three slabs"
    assert len(json.loads((killed / f"{point}.json").read_text())) == steps_left


MEMORY = '''
import re, sys
from pathlib import Path
import numpy as np, torch
from recurseg.inference.out_of_core import predict_out_of_core
from recurseg.models import create_model

def held(what):
    return 1024 * int(re.search(rf"^{what}:\\s*(\\d+)", Path("/proc/self/status").read_text(), re.M)[1])

class Noise:
    """An image that is never there as a whole."""
    dtype = np.dtype(np.float32)
    shape = (1, int(sys.argv[2]), 80, 80)
    def __getitem__(self, index):
        shape = [len(range(size)[part]) for size, part in zip(self.shape, index)] + [*self.shape[len(index):]]
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

torch.set_num_threads(int(sys.argv[4]))
model = create_model("pyramid_lstm", in_channels=1, num_classes=2, widths=(16,), pixelwise=(), kernel=1)
before = held("VmRSS")
for _ in predict_out_of_core(model, Noise(), Path(sys.argv[1]), max_ram=int(sys.argv[3])):
    pass
print(held("VmHWM") - before)
'''


def peak(folder, sections, max_ram, threads):
    """Bytes that a process of its own takes at its height beyond what it held with the network made."""
    arguments = [str(argument) for argument in (folder, sections, max_ram, threads)]
    done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_memory_follows_the_plane_and_not_the_volume(tmp_path):
    max_ram, section_of_sums = 100 * 2**20, 4 * 16 * 80**2
    small, large = (peak(tmp_path, sections, max_ram, 1) for sections in (32, 80))
    assert large <= max_ram
    assert large - small < (80 - 32) * section_of_sums / 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mib", [85, 100, 150])
def test_the_budget_of_memory_is_kept(tmp_path, mib, threads):
    assert peak(tmp_path, 48, mib * 2**20, threads) <= mib * 2**20
