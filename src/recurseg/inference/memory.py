"""How much memory the program holds, may hold, and the machine has."""

from __future__ import annotations

import ctypes
import gc
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recurseg.errors import ConfigError, ResourceError

_STATUS, _CLEAR, _MACHINE = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
_GROUP_LIMIT, _GROUP_USE = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def parse_bytes(text: str | int) -> int:
    """Reads a size: `2GB` is 2·10⁹ bytes, `4GiB` 4·2³⁰, `512M` 512·10⁶, a plain number is bytes.

    Raises:
        ConfigError: It is no size.
    """
    found = _SIZE.fullmatch(str(text))
    if found is None or not float(found[1]):
        raise ConfigError(f"'{text}' is no size of memory: write one such as 2GB, 512MB or 4GiB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " "))


def readable_size(count: float) -> str:
    """`1500000000` as `1.5 GB`."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


@dataclass(frozen=True)
class Budget:
    """The most memory that the program may hold at once, interpreter and libraries included.

    Attributes:
        limit: Bytes.
        what: What it is kept for, for messages.
    """

    limit: int
    what: str

    @property
    def left(self) -> int:
        """Bytes that may still be taken."""
        return self.limit - resident()

    def require(self, more: int, reason: str) -> None:
        """Raises ResourceError where `more` bytes beyond what is held now exceed the budget."""
        if more > self.left:
            self._refuse(resident() + more, reason if self.left > 0 else "the program itself")

    def check(self, reason: str) -> None:
        """Raises ResourceError where more was held since the last `forget_peak` than the budget allows."""
        if peak() > self.limit:
            self._refuse(peak(), reason)

    def _refuse(self, need: float, reason: str) -> None:
        raise ResourceError(
            f"{self.what}: {reason} needs about {readable_size(need)} in all, more than --max-ram "
            f"{readable_size(self.limit)}: give --max-ram {need * 1.1 / 1e9:.2g}GB, or smaller windows (--window)"
        )


def resident() -> int:
    """Bytes of memory that the program holds now.

    Raises:
        ConfigError: The system is no Linux and does not tell.
    """
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that it held at once since the last `forget_peak`, or since it started."""
    return _status("VmHWM")


def forget_peak() -> bool:
    """Gives back what is free and lets `peak` begin anew; False where the system does not let it."""
    gc.collect()
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def available() -> int | None:
    """Bytes that this program could take now without the machine, or its container, running out; None if unknown."""
    try:
        machine = _kilobytes(_MACHINE.read_text(), "MemAvailable")
    except (OSError, ValueError):
        return None
    with suppress(OSError, ValueError):
        machine = min(machine, int(_GROUP_LIMIT.read_text()) - int(_GROUP_USE.read_text()))
    return machine


def _status(name: str) -> int:
    try:
        return _kilobytes(_STATUS.read_text(), name)
    except (OSError, ValueError):
        raise ConfigError("a budget of memory is only kept on Linux: leave out --max-ram") from None


def _kilobytes(text: str, name: str) -> int:
    (found,) = re.findall(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found) * 1024
