"""Functions at which a process dies as by ``kill -9``."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable
from typing import Any

__all__ = ["deadly"]


def deadly(function: Callable[..., Any], after: bool) -> Callable[..., Any]:
    """The function, but that the process dies in place of it, or once it is done."""

    async def dies_async(*args: Any, **kwargs: Any) -> None:
        if after:
            await function(*args, **kwargs)
        _die()

    def dies(*args: Any, **kwargs: Any) -> None:
        if after:
            function(*args, **kwargs)
        _die()

    return dies_async if inspect.iscoroutinefunction(function) else dies


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
