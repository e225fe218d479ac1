"""How much freed memory the C library keeps for the next study, in the place of giving it back at once.

Arrays of a study have megabytes, and each would be fresh memory from the kernel, cleared page by page as it is touched.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

__all__ = ["ALLOCATOR_ENVIRONMENT", "keep_freed_memory"]

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
