import subprocess
import sys
import threading
import time

import pytest
import torch

from recurseg.ops.parallel import one_thread, run_parallel

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items():
    assert run_parallel(lambda n: (time.sleep(0.01 * (n % 2)), n)[1], range(6), device=CPU) == list(range(6))


def test_work_runs_on_threads_that_do_not_share_operations():
    def work(_):
        torch.ones(100, 100) @ torch.ones(100, 100)
        time.sleep(0.02)
        return torch.get_num_threads(), threading.current_thread().name

    for _ in range(3):
        seen = run_parallel(work, range(4), device=CPU)
        assert {threads for threads, _ in seen} == {1}
        assert len({name for _, name in seen}) == 2
    assert torch.get_num_threads() == 2
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


def test_grad_mode_goes_with_the_work():
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            assert run_parallel(lambda _: torch.is_grad_enabled(), range(2), device=CPU) == [mode] * 2


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        run_parallel(lambda n: 1 // n, range(2), device=CPU)


def test_one_thread_gives_the_threads_back():
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_gradients_are_the_same_bits_in_every_process():
    """The first call of a process starts the threads; it must not sum in another order than later ones."""
    code = """
import torch, hashlib
from recurseg.models import create_model
torch.set_num_threads(2)
torch.manual_seed(0)
model = create_model("pyramid_lstm", in_channels=1, num_classes=2, widths=(2, 3), pixelwise=(4,), kernel=3)
x = torch.randn(2, 1, 3, 12, 12)
for _ in range(2):
    model.zero_grad()
    model(x).square().sum().backward()
    print(hashlib.sha256(b"".join(p.grad.numpy().tobytes() for p in model.parameters())).hexdigest())
"""
    seen = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)]
    assert len(set("".join(seen).split())) == 1
