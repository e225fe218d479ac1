"""One picture of a graded study: a sagittal slice, discs outlined, each with its level and grade."""

from __future__ import annotations

from discgrade.result import DISCLAIMER, GradingResult
from gateway.pictures.figure import Figure, Measures, draw_figure
from gateway.pictures.look import DARK, MEANINGS, fitted, sample
from gateway.pictures.planes import Planes
from gateway.pictures.scene import Box, Raster, Scene, Stroke, Words, wrap

__all__ = ["HEADER_HEIGHT", "PANEL_WIDTH", "draw_overlay", "footer_height", "slice_note"]

PANEL_WIDTH = 400
"""Width in pixels of the labels right of the image."""

HEADER_HEIGHT = 40
"""Height in pixels of the marks above the image."""

_MEASURES = Measures(
    image=(1080, 1080), least=(520, 360), panel=PANEL_WIDTH, gap=74, least_gap=46, strip=HEADER_HEIGHT, line=3, pixels=1
)
_SIZE = 18.0
_EDGE = 20.0
_STEP = 34
_NEXT = 24  # from a line of a warning to its next
_FOOTER = 160  # without warnings


def draw_overlay(planes: Planes, result: GradingResult) -> Scene:
    """Draw the picture, a unit a pixel.

    It is of the same size class whatever the size of the input, and holds no patient data but the image itself.
    """
    figure = draw_figure(planes, result, _MEASURES, DARK)
    height = figure.height - HEADER_HEIGHT + footer_height(result, figure.width)
    items: list[Raster | Stroke | Box | Words] = [*figure.items]
    y = figure.height + 22
    x = _EDGE
    for severity, meaning in MEANINGS.items():
        items += sample(x, y, 44, severity, _MEASURES.line)
        said = Words(x + 54, y + 6, meaning, _SIZE, DARK.ink)
        items.append(said)
        x = said.left + said.width + 28
    y += 6 + _STEP
    items.append(fitted(Words(_EDGE, y, slice_note(figure, planes), _SIZE, DARK.muted), figure.width - 2 * _EDGE))
    for lines in _warnings(result, figure.width):
        y += _STEP - _NEXT
        for line in lines:
            y += _NEXT
            items.append(Words(_EDGE, y, line, _SIZE, DARK.ink))
    items.append(fitted(Words(_EDGE, y + _STEP, DISCLAIMER, _SIZE, DARK.ink), figure.width - 2 * _EDGE))
    return Scene(figure.width, height, DARK.ground, items)


def footer_height(result: GradingResult, width: float) -> int:
    """Height in pixels of what stands below the image: scale, legend and warnings.

    Args:
        result: The result.
        width: Of the whole picture.
    """
    return _FOOTER + sum(_STEP - _NEXT + _NEXT * len(lines) for lines in _warnings(result, width))


def _warnings(result: GradingResult, width: float) -> list[list[str]]:
    """Each warning in lines: who has the picture alone must not miss that its levels may be wrong."""
    room = (width - 2 * _EDGE) / 1.03
    return [wrap(f"Warning: {warning.message}", _SIZE, room) for warning in result.warnings]


def slice_note(figure: Figure, planes: Planes) -> str:
    """What must be known to read a figure."""
    notes = [f"Sagittal slice {figure.index + 1} of {len(planes.pixels)}, counted from the patient's right."]
    if figure.borrowed:
        notes.append("Thin line: outlined on another slice.")
    if figure.unsure:
        notes.append("?: level uncertain.")
    return " ".join(notes)
