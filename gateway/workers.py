"""Bounded threads for what must not run on the event loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

__all__ = ["Workers"]

P = ParamSpec("P")
T = TypeVar("T")

_DISK_THREADS = 8


class Workers:
    """Two pools: one as wide as the cores for work on pixels, one for short reads and writes of the disk.

    They are apart so that receiving an upload or reading a result never waits behind a decode.

    Args:
        cpu: Threads for work on pixels.
    """

    def __init__(self, cpu: int) -> None:
        self._cpu = CapacityLimiter(cpu)
        self._disk = CapacityLimiter(_DISK_THREADS)

    @property
    def threads(self) -> int:
        """Threads for work on pixels."""
        return int(self._cpu.total_tokens)

    @property
    def busy(self) -> int:
        """Those that work."""
        return self._cpu.borrowed_tokens

    @property
    def waiting(self) -> int:
        """How much work on pixels waits for a thread."""
        return self._cpu.statistics().tasks_waiting

    async def compute(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on pixels; a cancelled caller still waits for the thread to end."""
        return await to_thread.run_sync(partial(work, *args, **kwargs), limiter=self._cpu)

    async def disk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run short work on the disk; a cancelled caller still waits for the thread to end."""
        return await to_thread.run_sync(partial(work, *args, **kwargs), limiter=self._disk)
