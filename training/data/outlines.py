"""Discs that were outlined for evaluation, because the masks of ``spider2d`` are of T2 SPACE alone.

``outlines.json`` beside this module holds polygons and says how they were drawn. Nothing is trained on them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import BaseModel

__all__ = ["outlined_discs"]

_FINER = 8  # a pixel is a disc's where at least half of its 8 × 8 parts are


class _Series(BaseModel):
    shape: tuple[int, int, int]
    slice: int
    discs: dict[int, list[tuple[float, float]]]


class _Outlines(BaseModel):
    how: str
    series: dict[str, _Series]


@cache
def _outlines() -> dict[str, _Series]:
    return _Outlines.model_validate_json(Path(__file__).with_suffix(".json").read_bytes()).series


def outlined_discs(name: str, slices: int) -> NDArray[np.uint8] | None:
    """The outlined discs of a series of ``spider2d``.

    Args:
        name: Of the series, such as ``161_t2``.
        slices: It has: of T2 SPACE, the masked slices were outlined, not the mid-sagittal one.

    Returns:
        uint8 (slices, rows, columns): 0, or the disc's number from the bottom (1 = L5/S1); None where nothing was
        outlined.
    """
    drawn = _outlines().get(name)
    if drawn is None or drawn.shape[0] != slices:
        return None
    discs = np.zeros(drawn.shape, np.uint8)
    _, rows, columns = drawn.shape
    for number, polygon in drawn.discs.items():
        canvas = Image.new("1", (columns * _FINER, rows * _FINER))
        ImageDraw.Draw(canvas).polygon([((x + 0.5) * _FINER, (y + 0.5) * _FINER) for x, y in polygon], fill=1)
        covered = np.asarray(canvas).reshape(rows, _FINER, columns, _FINER).mean((1, 3))
        discs[drawn.slice][covered >= 0.5] = number
    return discs
