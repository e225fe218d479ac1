"""The overlay picture in a terminal: two pixels a character, drawn as upper half blocks."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from discgrade.result import Disc, GradingResult
from gateway.pictures.overlay import HEADER_HEIGHT, PANEL_WIDTH, footer_height

__all__ = ["show"]

_MIN_ROWS = 20
_MAX_ROWS = 48
_LABEL_COLUMNS = 14
_COLOURED = 60
_LINE_SHARE = 0.12


def show(console: Console, overlay: bytes, result: GradingResult) -> bool:
    """Draw the image part of an overlay where it can be seen, as large as the terminal allows.

    Args:
        console: Where to draw; nothing happens unless it is a terminal of some size with 256 colours or more.
        overlay: A PNG from :func:`gateway.pictures.overlay.draw_overlay`. Its own labels would be too small to read.
        result: What it shows.

    Returns:
        Whether it was drawn.
    """
    if not console.is_terminal or console.color_system not in ("256", "truecolor"):
        return False
    whole = Image.open(io.BytesIO(overlay)).convert("RGB")
    bottom = whole.height - footer_height(result, whole.width)
    picture = whole.crop((0, HEADER_HEIGHT, whole.width - PANEL_WIDTH, bottom))
    widest = (console.width - _LABEL_COLUMNS) * picture.height // (2 * picture.width)
    rows = min(console.height - 2, widest, _MAX_ROWS)
    if rows < _MIN_ROWS:
        return False
    pixels, lines = _reduced(picture, round(picture.width * 2 * rows / picture.height), rows * 2)
    labels = _labels(lines[:, -1], result.discs)
    for row in range(rows):
        text = _half_blocks(pixels[2 * row], pixels[2 * row + 1])
        console.print(text.append(f"  {labels[row]}", "bold") if row in labels else text)
    return True


def _reduced(picture: Image.Image, width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Make a picture smaller without losing thin coloured lines on grey.

    Returns:
        uint8, shape (height, width, 3); and where a line was drawn, bool, shape (height, width).
    """

    def reduce(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BOX))

    pixels = np.asarray(picture).astype(np.float32)
    coloured = (np.ptp(pixels, axis=2) > _COLOURED).astype(np.float32)
    share = reduce(coloured)
    lines = share > _LINE_SHARE
    small = [
        np.where(lines, reduce(channel * coloured) / np.maximum(share, _LINE_SHARE), reduce(channel))
        for channel in np.moveaxis(pixels, 2, 0)
    ]
    return np.rint(np.stack(small, axis=2)).clip(0, 255).astype(np.uint8), lines


def _labels(edge: NDArray[np.bool_], discs: Sequence[Disc]) -> dict[int, str]:
    """Text rows on which the discs' leader lines reach the picture's right edge, with the discs' names and grades."""
    starts = np.flatnonzero(edge & ~np.concatenate([[False], edge[:-1]]))
    if len(starts) != len(discs):  # lines that run into each other cannot be told apart
        return {}
    names = (f"{disc.level} {disc.pfirrmann.value}" for disc in discs)
    return dict(zip((starts // 2).tolist(), names, strict=True))


def _half_blocks(upper: NDArray[np.uint8], lower: NDArray[np.uint8]) -> Text:
    text = Text(no_wrap=True)
    for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
        text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
    return text
