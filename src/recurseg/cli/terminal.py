"""What the user's terminal shows and answers while a command runs."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def quiet_libraries(*, unless: bool = False) -> Iterator[None]:
    """Keeps warnings and log lines of libraries off the terminal.

    Args:
        unless: True shows them all.
    """
    if unless:
        yield
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.showwarning = _drop
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)


@contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Makes SIGTERM end a command as Ctrl-C does: what was done is kept and the exit code says so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _drop(*_: object, **__: object) -> None:
    return


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
