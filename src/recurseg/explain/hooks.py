"""Hooks that look into a network while it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch.utils.hooks import RemovableHandle


@contextmanager
def hooked(hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Removes hooks at its end, whatever happens inside."""
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hook)
        yield
