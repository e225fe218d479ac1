"""Every disc by itself, on the slice on which its middle lies: a strip of crops of one scale."""

from __future__ import annotations

import math

import numpy as np

from discgrade.result import Disc, GradingResult
from gateway.pictures.look import PAPER, fitted, is_unsure, name_of, outline
from gateway.pictures.planes import DiscPlace, Planes, Window
from gateway.pictures.scene import Raster, Scene, Words

__all__ = ["crops_height", "draw_crops"]

_CROP_MM = (60.0, 44.0)
_MOST_IN_A_ROW = 9
_LARGEST = 96.0
_SPACE = 4.0
_PIXELS = 4.0
_TEXT = 7.0
_SMALL = 6.0
_CAPTION = 20.0


def draw_crops(page: Scene, planes: Planes, result: GradingResult, room: tuple[float, float, float]) -> float:
    """Draw the strip, in two rows where there are many.

    Args:
        page: Where to.
        planes: The graded image and its discs.
        result: The result.
        room: Left, top and right.

    Returns:
        Where it ends.
    """
    left, top, right = room
    discs = sorted(result.discs, key=lambda disc: disc.label, reverse=True)
    _, in_a_row, width, height = _grid(len(discs), right - left)
    for number, disc in enumerate(discs):
        row, column = divmod(number, in_a_row)
        corner = left + column * (width + _SPACE), top + row * (height + _CAPTION)
        _draw_crop(page, planes, disc, (*corner, width, height))
    return top + crops_height(len(discs), right - left)


def crops_height(count: int, width: float) -> float:
    """Room that the strip takes from top to bottom."""
    rows, _, _, height = _grid(count, width)
    return rows * (height + _CAPTION)


def _grid(count: int, room: float) -> tuple[int, int, float, float]:
    """Rows, crops in a row, width and height of a crop."""
    rows = 1 if count <= _MOST_IN_A_ROW else 2
    in_a_row = math.ceil(count / rows)
    width = min((room - (in_a_row - 1) * _SPACE) / in_a_row, _LARGEST)
    return rows, in_a_row, width, width * _CROP_MM[1] / _CROP_MM[0]


def _draw_crop(page: Scene, planes: Planes, disc: Disc, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    place = planes.place_of(disc)
    window = _window(planes, place, (width, height))
    # Windows are of whole pixels, so that crops differ a little in size.
    wide, high = min(window.size[0], width), min(window.size[1], height)
    pixels = planes.grey(place.slice, window, (max(1, round(wide * _PIXELS)), max(1, round(high * _PIXELS))))
    page.items.append(Raster((x, y, x + wide, y + high), pixels))
    lines = [line + np.array([x, y]) for line in planes.outline(disc.label, place.slice, window)]
    page.items.extend(outline(lines, disc.severity, 0.7))
    name = f"{name_of(disc)} ?" if is_unsure(disc) else name_of(disc)
    middle = x + width / 2
    title = Words(middle, y + height + 8, f"{name} · {disc.pfirrmann.value}", _TEXT, PAPER.ink, True, "middle")
    seen = f"{disc.severity.value}, slice {place.slice + 1}"
    said = Words(middle, y + height + 15.5, seen, _SMALL, PAPER.muted, align="middle")
    page.items.extend((fitted(title, width), fitted(said, width)))


def _window(planes: Planes, place: DiscPlace, size: tuple[float, float]) -> Window:
    """So many mm around a disc, black where the image ends."""
    _, row_mm, column_mm = planes.spacing
    scale = size[0] / _CROP_MM[0]
    rows, columns = max(1, int(_CROP_MM[1] / row_mm)), max(1, int(_CROP_MM[0] / column_mm))
    top, left = round(place.row + 0.5 - rows / 2), round(place.column + 0.5 - columns / 2)
    return Window(top, left, top + rows, left + columns, scale * row_mm, scale * column_mm)
