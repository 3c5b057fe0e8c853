"""Limit on memory that the C library keeps after a call has freed it."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

MAX_ARENAS = 2
_M_ARENA_MAX = -8


def limit_arenas() -> None:
    """Have all threads of this process share `MAX_ARENAS` arenas, with glibc; elsewhere nothing changes.

    Each thread of a call works for a moment, and would otherwise keep an arena of its own, up to eight for
    each core (mallopt(3)). What MALLOC_ARENA_MAX says is left as it is. To be called before threads start.
    """
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return
    # Another C library has no such setting.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MAX_ARENAS)
