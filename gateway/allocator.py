"""Memory: how much that was freed is kept for the next study in place of being given back, and what is collected.

Arrays of a study have megabytes, and each would be fresh memory from the kernel, cleared page by page as it is touched.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

__all__ = ["ALLOCATOR_ENVIRONMENT", "collect_only_what_is_new", "keep_freed_memory"]

_OWN_MAPPING_BYTES = 32 * 2**20  # allocations from here on are given back at once
_KEPT_BYTES = 256 * 2**20
_ARENAS = 2  # each keeps memory of its own; else there are eight a core, and they fill one after the other

ALLOCATOR_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": str(_ARENAS),
    "MALLOC_MMAP_THRESHOLD_": str(_OWN_MAPPING_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES),
}
"""For other processes: variables that glibc reads as it starts (mallopt(3)); other C libraries do not."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def keep_freed_memory() -> None:
    """The same for this process; nothing where the C library is not glibc."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def collect_only_what_is_new() -> None:
    """Call it once all is loaded: Python's collector then leaves alone what is there.

    A full collection looks at all objects, a quarter of a second for the libraries loaded here, while nothing else
    runs; and it is put off until there are a quarter more, with the arrays that cycles of a study's objects hold.
    """
    gc.collect()
    gc.freeze()
