"""What a picture is made of before it is painted: as pixels by :mod:`.paint_png`, as a page by :mod:`.paint_pdf`.

Places are in units of the scene, from its top left corner: x to the right, y down. What the scene says, and whether
its words run into each other, can so be told without looking.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

__all__ = ["Box", "Colour", "Points", "Raster", "Scene", "Stroke", "Words", "dashed", "font_file", "text_width", "wrap"]

Colour = tuple[int, int, int]
Points = NDArray[np.float64]
Rectangle = tuple[float, float, float, float]

_ASCENT, _DESCENT = 0.76, 0.24  # of Bitstream Vera, as shares of its size
_MEASURED_AT = 200
_PAINTED = 1.03  # letters painted as pixels are whole pixels wide


@dataclass(frozen=True, eq=False)
class Raster:
    """Grey pixels, uint8 of shape (rows, columns), stretched over a rectangle."""

    box: Rectangle
    pixels: NDArray[np.uint8]

    def moved(self, x: float, y: float) -> Raster:
        """The same elsewhere."""
        return replace(self, box=_shifted(self.box, x, y))


@dataclass(frozen=True, eq=False)
class Stroke:
    """A line through points, float64 of shape (n, 2), with round ends; ``edge`` is a dark border on both sides."""

    points: Points
    colour: Colour
    width: float
    edge: float = 0.0

    def moved(self, x: float, y: float) -> Stroke:
        """The same elsewhere."""
        return replace(self, points=self.points + np.array([x, y]))


@dataclass(frozen=True)
class Box:
    """A filled rectangle."""

    box: Rectangle
    colour: Colour

    def moved(self, x: float, y: float) -> Box:
        """The same elsewhere."""
        return replace(self, box=_shifted(self.box, x, y))


@dataclass(frozen=True)
class Words:
    """A line of text: x of the point that ``align`` names, y of the line it stands on, and the size of its font."""

    x: float
    y: float
    text: str
    size: float
    colour: Colour
    bold: bool = False
    align: Literal["start", "middle", "end"] = "start"

    def moved(self, x: float, y: float) -> Words:
        """The same elsewhere."""
        return replace(self, x=self.x + x, y=self.y + y)

    @property
    def left(self) -> float:
        """Where it begins."""
        return self.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[self.align] * self.width

    @property
    def width(self) -> float:
        """How long it is."""
        return text_width(self.text, self.size, bold=self.bold)

    @property
    def box(self) -> Rectangle:
        """The room it takes: left, top, right, bottom."""
        width = self.width * _PAINTED
        return self.left, self.y - _ASCENT * self.size, self.left + width, self.y + _DESCENT * self.size


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture: its size, its ground, and what is on it, painted in this order."""

    width: float
    height: float
    ground: Colour
    items: list[Raster | Stroke | Box | Words] = field(default_factory=list)

    @property
    def words(self) -> list[Words]:
        """Every text on it."""
        return [item for item in self.items if isinstance(item, Words)]


def _shifted(box: Rectangle, x: float, y: float) -> Rectangle:
    left, top, right, bottom = box
    return left + x, top + y, right + x, bottom + y


def font_file(*, bold: bool = False) -> Path:
    """Bitstream Vera, which may be embedded and comes with ReportLab."""
    return Path(str(files("reportlab") / "fonts" / ("VeraBd.ttf" if bold else "Vera.ttf")))


@cache
def _measuring_font(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file(bold=bold)), _MEASURED_AT, layout_engine=ImageFont.Layout.BASIC)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Length of a line of text."""
    return float(_measuring_font(bold).getlength(text)) * size / _MEASURED_AT


def wrap(text: str, size: float, width: float) -> list[str]:
    """Break a text between words into lines no longer than ``width``; a single word may be longer."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def dashed(points: Points, on: float, off: float) -> list[Points]:
    """Cut a line into dashes of about this length and distance, so that a closed line has no odd one.

    Args:
        points: float64 (n, 2).
        on: Length of a dash.
        off: Distance between dashes; 0 leaves the line whole.
    """
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    length = float(along[-1])
    if off == 0 or length < on + off:
        return [points]
    count = round(length / (on + off))
    period = length / count
    pieces = []
    for start in np.arange(count) * period:
        stop = start + period * on / (on + off)
        inner = (along > start) & (along < stop)
        at = np.concatenate([[start], along[inner], [stop]])
        pieces.append(np.column_stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)]))
    return pieces
