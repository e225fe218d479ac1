"""One picture of a graded study: the middle sagittal slice, discs outlined, each with its level and grade.

Colours are the sky blue, yellow and vermilion of Okabe and Ito's palette, told apart under every common colour
vision deficiency; the severity is also written out, so colour never carries it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from discgrade.result import DISCLAIMER, Disc, Severity
from gateway.png_out import png
from preprocess.boxes import pixels_of
from preprocess.grid import GRID_SPACING_MM, Grid

__all__ = ["FOOTER_HEIGHT", "PANEL_WIDTH", "draw_overlay", "spread"]

PANEL_WIDTH = 400
"""Least width in pixels of the labels right of the image."""

FOOTER_HEIGHT = 116
"""Height in pixels of the legend below the image."""

_COLOURS = {
    Severity.MILD: (0x56, 0xB4, 0xE9),
    Severity.MODERATE: (0xF0, 0xE4, 0x42),
    Severity.SEVERE: (0xF2, 0x6B, 0x1D),
}
_MEANINGS = {
    Severity.MILD: "mild (Pfirrmann I, II)",
    Severity.MODERATE: "moderate (III)",
    Severity.SEVERE: "severe (IV, V)",
}
_BACKGROUND = (18, 18, 20)
_WHITE = (245, 245, 245)
_GREY = (160, 160, 165)

_IMAGE_HEIGHT = 1080
_IMAGE_MAX_WIDTH = 1080
_CANVAS_MIN_WIDTH = 900
_LABEL_HEIGHT = 74
_MARGIN_MM = 45.0
_SCALE_BAR_MM = 50
_SURE = 0.5
_WHITE_PERCENTILE = 99.0
_GAMMA = 0.85


@dataclass(frozen=True)
class _View:
    """The part of the grid that is shown: its top-left grid pixel and picture pixels per grid pixel."""

    top: int
    left: int
    bottom: int
    right: int
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        return round((self.right - self.left) * self.scale), round((self.bottom - self.top) * self.scale)

    def shown(self, plane: NDArray[np.uint8]) -> Image.Image:
        """The visible part of a grid plane, not yet enlarged."""
        return Image.fromarray(np.ascontiguousarray(plane[self.top : self.bottom, self.left : self.right]))

    def on_picture(self, row: float, column: float) -> tuple[float, float]:
        """Where a corner of grid pixels lies on the picture, x and y in pixels."""
        return (column - self.left) * self.scale, (row - self.top) * self.scale


def draw_overlay(
    grid: Grid,
    instances: NDArray[np.uint8],
    disc_probability: NDArray[np.uint8],
    middle_slices: NDArray[np.int32],
    discs: list[Disc],
) -> bytes:
    """Draw the slice on which most discs are measured, with outlines and labels.

    Args:
        grid: The study on the network grid.
        instances: uint8 (N, H, W): 0, or a disc's label.
        disc_probability: uint8 (N, H, W): 255 × probability of disc.
        middle_slices: int32 (D,): the slice on which the disc with label d + 1 is measured.
        discs: The graded discs, top to bottom; at least one.

    Returns:
        A PNG of the same height whatever the input's size. It holds no patient data but the image itself.
    """
    shown = int(np.median(middle_slices))
    view = _view(grid, instances)
    picture = _windowed(view.shown(grid.pixels[shown])).resize(view.size, Image.Resampling.BICUBIC).convert("RGB")
    anchors: list[tuple[float, float]] = []
    borrowed = False
    for disc in discs:
        own = int(middle_slices[disc.label - 1])
        member = instances[shown] == disc.label
        own_member = instances[own] == disc.label
        elsewhere = 3 * np.count_nonzero(member) < np.count_nonzero(own_member)
        if elsewhere:
            member = own_member
            borrowed = True
        inside = np.where(member, disc_probability[own if elsewhere else shown], 0).astype(np.uint8)
        _paste_outline(picture, view, inside, _COLOURS[disc.severity], dashed=elsewhere)
        rows, columns = pixels_of(member)
        row = float(np.median(rows[columns >= columns.max() - 4]))
        anchors.append(view.on_picture(row + 0.5, columns.max() + 1))

    canvas = Image.new(
        "RGB", (max(picture.width + PANEL_WIDTH, _CANVAS_MIN_WIDTH), picture.height + FOOTER_HEIGHT), _BACKGROUND
    )
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    _draw_labels(draw, picture.size, anchors, discs)
    _draw_orientation(draw, picture.size, view.scale)
    notes = [f"Sagittal slice {shown + 1} of {len(grid.pixels)}, counted from the patient's right."]
    if borrowed:
        notes.append("Dashed: outlined on another slice.")
    if any(_unsure(disc) for disc in discs):
        notes.append("?: level uncertain.")
    _draw_footer(draw, canvas.size, " ".join(notes))
    return png(canvas)


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move ascending positions as little as possible so that neighbours lie at least ``gap`` apart.

    Args:
        wanted: Ascending positions in pixels.
        gap: Smallest distance between neighbours.
        low: Smallest position allowed.
        high: Largest position allowed; at least ``low + gap * (len(wanted) - 1)``.

    Returns:
        Positions in the same order (least squares, by pooling adjacent violators).
    """
    blocks: list[tuple[float, int]] = []
    for index, position in enumerate(wanted):
        total, count = position - index * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before = blocks.pop()
            total, count = total + before[0], count + before[1]
        blocks.append((total, count))
    level = [total / count for total, count in blocks for _ in range(count)]
    top = high - gap * (len(wanted) - 1)
    return [min(max(value, low), top) + index * gap for index, value in enumerate(level)]


def _view(grid: Grid, instances: NDArray[np.uint8]) -> _View:
    """Show the discs and some centimetres around them, at a size that fits the picture."""
    planes = instances.any(axis=0)
    rows, columns = np.nonzero(planes.any(axis=1))[0], np.nonzero(planes.any(axis=0))[0]
    margin = round(_MARGIN_MM / GRID_SPACING_MM)
    top, bottom, left, right = grid.field_of_view
    top, bottom = max(top, int(rows[0]) - margin), min(bottom, int(rows[-1]) + 1 + margin)
    left, right = max(left, int(columns[0]) - margin), min(right, int(columns[-1]) + 1 + margin)
    scale = min(_IMAGE_HEIGHT / (bottom - top), _IMAGE_MAX_WIDTH / (right - left))
    return _View(top, left, bottom, right, scale)


def _windowed(plane: Image.Image) -> Image.Image:
    """Stretch the grey values for the eye, as a reader would: fat near the coil may saturate, discs may not."""
    white = max(1.0, float(np.percentile(np.asarray(plane), _WHITE_PERCENTILE)))
    return plane.point([min(255, round(255 * (value / white) ** _GAMMA)) for value in range(256)])


def _paste_outline(
    picture: Image.Image, view: _View, probability: NDArray[np.uint8], colour: tuple[int, int, int], *, dashed: bool
) -> None:
    """Draw a smooth line along the one-half contour of a probability given on a grid plane."""
    rows, columns = np.nonzero(probability.any(axis=1))[0], np.nonzero(probability.any(axis=0))[0]
    x0, y0 = (max(0, int(v) - 8) for v in view.on_picture(rows[0], columns[0]))
    x1, y1 = view.on_picture(rows[-1] + 1, columns[-1] + 1)
    size = min(int(x1) + 8, picture.width) - x0, min(int(y1) + 8, picture.height) - y0
    plane = view.shown(probability)
    fit = plane.width / picture.width, plane.height / picture.height
    window = x0 * fit[0], y0 * fit[1], (x0 + size[0]) * fit[0], (y0 + size[1]) * fit[1]
    enlarged = plane.resize(size, Image.Resampling.BICUBIC, box=window)
    inside = enlarged.point([0 if value < 112 else min(255, (value - 112) * 8) for value in range(256)])
    soft = inside.filter(ImageFilter.GaussianBlur(1.8))
    ring = soft.point([min(255, round(255 * max(0.0, 4 * (v / 255) * (1 - v / 255) - 0.25) * 2.2)) for v in range(256)])
    if dashed:
        across, down = np.indices((ring.height, ring.width))
        ring = Image.fromarray(np.where((across + down) // 9 % 2 == 0, 0, np.asarray(ring)).astype(np.uint8))
    picture.paste(colour, (x0, y0), ring)


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels carry FreeType and this font
    return font


def _draw_orientation(draw: ImageDraw.ImageDraw, size: tuple[int, int], scale: float) -> None:
    width, height = size
    font = _font(22)

    def write(x: float, y: float, text: str, anchor: str) -> None:
        draw.text((x, y), text, fill=_WHITE, font=font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))

    write(12, height // 2, "A", "lm")
    write(width - 12, height // 2, "P", "rm")
    write(12, 10, "H", "lt")
    write(width - 12, height - 10, "F", "rb")
    length = round(_SCALE_BAR_MM / GRID_SPACING_MM * scale)
    draw.rectangle((17, height - 25, 19 + length, height - 19), fill=(0, 0, 0))
    draw.rectangle((18, height - 24, 18 + length, height - 20), fill=_WHITE)
    write(18, height - 32, f"{_SCALE_BAR_MM} mm", "ls")


def _draw_labels(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], anchors: list[tuple[float, float]], discs: list[Disc]
) -> None:
    """Write one label a disc into the panel, joined to its disc by a line."""
    width, height = size
    gap = min(_LABEL_HEIGHT, height / len(discs))
    order = sorted(range(len(discs)), key=lambda index: anchors[index][1])
    places = spread([anchors[index][1] for index in order], gap, gap / 2, height - gap / 2)
    big, small = _font(gap * 0.40), _font(gap * 0.30)
    for index, y in zip(order, places, strict=True):
        disc, (x, anchor_y) = discs[index], anchors[index]
        colour = _COLOURS[disc.severity]
        draw.line([(x + 4, anchor_y), (width + 8, y), (width + 26, y)], fill=colour, width=2)
        draw.rectangle((width + 26, y - gap * 0.40, width + 32, y + gap * 0.40), fill=colour)
        name = f"{disc.level} ?" if _unsure(disc) else disc.level
        draw.text((width + 44, y - gap * 0.02), name, fill=_WHITE, font=big, anchor="ls")
        grade = (
            f"Pfirrmann {disc.pfirrmann.value} · {disc.severity.value} "
            f"{round(100 * disc.severity_probabilities[disc.severity])} %"
        )
        draw.text((width + 44, y + gap * 0.36), grade, fill=_GREY, font=small, anchor="ls")


def _unsure(disc: Disc) -> bool:
    return disc.level_confidence < _SURE


def _draw_footer(draw: ImageDraw.ImageDraw, size: tuple[int, int], notes: str) -> None:
    height = size[1]
    font = _font(19)
    x, y = 20.0, height - FOOTER_HEIGHT + 26
    for severity, meaning in _MEANINGS.items():
        draw.rectangle((x, y - 8, x + 16, y + 8), fill=_COLOURS[severity])
        draw.text((x + 24, y), meaning, fill=_WHITE, font=font, anchor="lm")
        x += 24 + draw.textlength(meaning, font=font) + 32
    draw.text((20, y + 32), notes, fill=_GREY, font=font, anchor="lm")
    draw.text((20, y + 64), DISCLAIMER, fill=_WHITE, font=font, anchor="lm")
