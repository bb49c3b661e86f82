"""One end for all processes of a training: what ends one of them ends the others within seconds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from recurseg.errors import ResourceError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

POLL, GRACE = 0.5, 5.0
"""Seconds between two looks at whether another process failed, and until a process that cannot stop is ended."""
_FOLLOWED = 1
"""Exit code of a process that ends because another one failed: the lowest, so that a launcher reports that one's."""


@contextmanager
def ending_together(fabric: Fabric) -> Iterator[None]:
    """Runs a part of a training in all processes; the first that fails says why and takes the others with it.

    Without this, the others would wait for its gradients.

    Raises:
        SystemExit: In the others.
        ResourceError: Another process was lost without a word.
    """
    if fabric.world_size == 1:
        yield
        return
    alarm = _Alarm(fabric)
    try:
        yield
    except BaseException as error:
        try:
            first = alarm.ring()
        except KeyboardInterrupt:
            first = not alarm.heard
        if not first:
            raise SystemExit(_FOLLOWED) from None
        if alarm.lost or _is_lost_connection(error):
            raise ResourceError(
                "another process of the training is gone (killed, or out of memory?): go on with --resume"
            ) from None
        raise
    alarm.silence()
    fabric.barrier()  # rank 0 holds the alarm until nobody listens


class _Alarm:
    """Rung by the first process that fails, heard by all others.

    Attributes:
        heard: Whether another process rang it.
        lost: Whether rank 0, which holds it, is gone.
    """

    def __init__(self, fabric: Fabric) -> None:
        from torch.distributed.elastic.utils.distributed import create_c10d_store

        host, self.rank = os.environ["MASTER_ADDR"], fabric.global_rank
        held = create_c10d_store(True, host, wait_for_workers=False) if self.rank == 0 else None
        port = fabric.broadcast(held.port if held else 0)
        self.store = held or create_c10d_store(False, host, port, wait_for_workers=False)
        self.others, self.heard, self.lost = fabric.world_size - 1, False, False
        self.over = threading.Event()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def silence(self) -> None:
        """Listens no more."""
        self.over.set()
        self.listener.join()

    def ring(self) -> bool:
        """Tells the others that this process ends; False where another one was first."""
        self.silence()
        first = False
        try:
            if not self.heard:
                first = self.store.compare_set("failed", "", str(self.rank)) == str(self.rank).encode()
                self.store.add("heard", 0 if first else 1)
        except RuntimeError:
            self.lost = True
            return self.rank == 1
        if first or self.rank == 0:
            self._wait_until_heard()
        return first

    def _wait_until_heard(self) -> None:
        deadline = time.monotonic() + GRACE
        with suppress(RuntimeError):
            while self.store.add("heard", 0) < self.others and time.monotonic() < deadline:
                time.sleep(0.05)

    def _listen(self) -> None:
        while not self.over.wait(POLL):
            try:
                if not self.store.check(["failed"]):
                    continue
                self.heard = True
                self.store.add("heard", 1)
            except RuntimeError:
                self.lost = not self.heard
            self._follow()
            return

    def _follow(self) -> None:
        """Interrupts the main thread; where that waits for others out of Python's reach, ends the process."""
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        if not self.over.wait(GRACE):
            os._exit(_FOLLOWED)


def _is_lost_connection(error: BaseException) -> bool:
    """Whether waiting for the others failed because one of them is gone."""
    return isinstance(error, RuntimeError) and any(
        word in str(error).lower() for word in ("gloo", "nccl", "connection closed", "connection reset")
    )
