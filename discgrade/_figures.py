"""Figures as people read them: the same in tables, pictures and on the page."""

from __future__ import annotations

import math

__all__ = ["whole"]


def whole(value: float) -> int:
    """The nearest whole number, of two the larger, as browsers round; Python's own takes the even one."""
    return math.floor(value + 0.5)
