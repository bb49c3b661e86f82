"""Memory that one update frees is kept for the next."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Tells the C library to keep what this process frees, where it is glibc; elsewhere nothing changes.

    By default glibc gives every large block back to the system at once, and each update of a training takes the same
    gigabytes anew, page by page: up to half of a small network's time.
    """
    try:
        c = ctypes.CDLL(None)
        c.gnu_get_libc_version()
    except (OSError, TypeError, AttributeError):
        return
    c.mallopt(_M_MMAP_MAX, 0)
    c.mallopt(_M_TRIM_THRESHOLD, _NEVER)
