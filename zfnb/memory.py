"""Memory of a process that asks for gigabytes and frees them, step after step."""

from __future__ import annotations

import ctypes


def keep_memory() -> None:
    """Let this process keep the memory that it frees, where the C library can be told so (glibc).

    Each step frees gigabytes and asks for them again. By default they go back to the system, which
    then clears each page anew: two fifths of the time of a step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    one_arena, no_maps, trim_above, grow_by = (-8, 1), (-4, 0), (-1, 2**31 - 1), (-2, 2**29)
    for option, value in (one_arena, no_maps, trim_above, grow_by):
        mallopt(option, value)
