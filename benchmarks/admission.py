"""Servers that refuse nobody: refusals and their repetition are not what is measured here (``loadtest`` does that)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["taking_all"]


@contextmanager
def taking_all() -> Iterator[None]:
    """Servers that are started in the block take all that comes."""
    before = dict(os.environ)
    os.environ["DISCGRADE_ADMISSION_AHEAD_SECONDS"] = "3600"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
