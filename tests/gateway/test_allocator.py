from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from gateway.allocator import ALLOCATOR_ENVIRONMENT

FREED = """
import numpy as np, psutil
{}
arrays = [np.ones(2**20, np.uint8) for _ in range(64)]
del arrays
print(psutil.Process().memory_info().rss)
"""


def _resident_after_freeing(first: str = "", environment: dict[str, str] | None = None) -> int:
    code = FREED.format(first)
    return int(subprocess.check_output([sys.executable, "-c", code], env={**os.environ, **(environment or {})}))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_is_kept() -> None:
    """64 MiB in arrays of one."""
    given_back = _resident_after_freeing(environment={"MALLOC_MMAP_THRESHOLD_": "65536"})
    here = _resident_after_freeing("from gateway.allocator import keep_freed_memory; keep_freed_memory()")
    elsewhere = _resident_after_freeing(environment=ALLOCATOR_ENVIRONMENT)
    assert min(here, elsewhere) > given_back + 48 * 2**20


def test_the_collector_leaves_alone_what_was_loaded() -> None:
    code = (
        "import gc, gateway.serve\n"
        "from gateway.allocator import collect_only_what_is_new\n"
        "collect_only_what_is_new()\n"
        "print(gc.get_freeze_count(), len(gc.get_objects()))\n"
    )
    frozen, left = map(int, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert frozen > 50_000
    assert left < frozen / 100
