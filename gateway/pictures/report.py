"""The report: one page for people, A4, with the figure, every disc by itself, a table, warnings and versions."""

from __future__ import annotations

from dataclasses import replace

import discgrade
from discgrade.result import DISCLAIMER, Disc, GradingResult
from gateway.pictures.crops import crops_height, draw_crops
from gateway.pictures.figure import Figure, Measures, draw_figure
from gateway.pictures.look import DARK, MEANINGS, PAPER, fitted, sample
from gateway.pictures.overlay import slice_note
from gateway.pictures.planes import Planes
from gateway.pictures.scene import Box, Scene, Words, wrap
from gateway.pictures.table import draw_table

__all__ = ["TITLE", "draw_report"]

TITLE = "Lumbar disc grading"
_WIDTH, _HEIGHT = 595.28, 841.89  # A4 in points
_EDGE = 36.0
_SIDE = 168.0
_TEXT = 7.5
_LINE = 10.0
_ROW = 14.0
_FIGURE = Measures(image=(216, 390), least=(120, 120), panel=128, gap=27, least_gap=14.5, strip=14, line=1.1, pixels=3)
_LEAST_IMAGE = 200.0
_SPACE = 12.0


def draw_report(planes: Planes, result: GradingResult, reference: str) -> Scene:
    """Draw the page, a unit a point.

    It holds no patient data but the image itself: who the patient is says the object that it is sent in, if any.

    Args:
        planes: The graded image and its discs.
        result: The result.
        reference: What names the result on the page.
    """
    page = Scene(_WIDTH, _HEIGHT, PAPER.ground)
    y = _head(page, result, reference)
    left, right, foot = _EDGE, _WIDTH - _EDGE, _HEIGHT - 30
    below = crops_height(len(result.discs), right - left) + _ROW * (len(result.discs) + 1) + 3 * _SPACE
    spare = min(_FIGURE.image[1], foot - y - below - 2 * _FIGURE.strip)
    image = max(_LEAST_IMAGE, spare, len(result.discs) * _FIGURE.least_gap)  # labels take as much in any case
    figure = draw_figure(planes, result, replace(_FIGURE, image=(_FIGURE.image[0], image)), PAPER)
    page.items.extend(item.moved(left, y) for item in figure.items)
    side = _side(page, planes, result, figure, y)
    y = max(y + figure.height, side) + _SPACE
    y = draw_crops(page, planes, result, (left, y, right)) + _SPACE / 2
    row = min(_ROW, (foot - _SPACE / 2 - y) / (len(result.discs) + 1))
    draw_table(page, _discs(result), (left, y, right), row)
    _foot(page, foot)
    return page


def _discs(result: GradingResult) -> list[Disc]:
    return sorted(result.discs, key=lambda disc: disc.label, reverse=True)


def _head(page: Scene, result: GradingResult, reference: str) -> float:
    """Title, the disclaimer as a banner, and what was graded; returns where the rest begins."""
    right = _WIDTH - _EDGE
    page.items.append(Words(_EDGE, 46, TITLE, 16, PAPER.ink, bold=True))
    version = Words(right, 46, f"discgrade {discgrade.__version__}", 9, PAPER.muted, align="end")
    page.items.append(version)
    page.items.append(Box((_EDGE, 54, right, 72), PAPER.ink))
    page.items.append(fitted(Words(_EDGE + 8, 66, DISCLAIMER, 9, PAPER.ground, bold=True), right - _EDGE - 16))
    slices, rows, columns = result.input.spacing_mm
    kind = {"nifti": "NIfTI", "dicom": "DICOM", "dicom-multiframe": "DICOM, multi-frame"}.get(
        result.input.format, result.input.format
    )
    graded = f"{kind}; {result.input.slices} sagittal slices {slices:g} mm apart, pixels {rows:g} × {columns:g} mm."
    if result.input.slices == 1:
        graded = f"{kind}; a single sagittal slice, pixels {rows:g} × {columns:g} mm."
    y = 74.0
    for text in (f"Result: {reference}", f"Graded: {graded} {result.input.chosen_because}"):
        for line in wrap(text, _TEXT, right - _EDGE):
            y += _LINE
            page.items.append(Words(_EDGE, y, line, _TEXT, PAPER.ink))
    return y + 10


def _side(page: Scene, planes: Planes, result: GradingResult, figure: Figure, y: float) -> float:
    """Legend, warnings and models beside the figure; returns where they end."""
    left, right = _WIDTH - _EDGE - _SIDE, _WIDTH - _EDGE
    y += _FIGURE.strip
    y = _heading(page, "How to read it", left, y)
    for severity, meaning in MEANINGS.items():
        page.items.append(Box((left, y - 6.5, left + 24, y + 1.5), DARK.ground))  # as on the image
        page.items.extend(sample(left + 3, y - 2.5, 18, severity, _FIGURE.line))
        page.items.append(Words(left + 30, y, meaning, _TEXT, PAPER.ink))
        y += _LINE
    y = _paragraph(page, slice_note(figure, planes), left, right, y + 3) + 6
    y = _heading(page, "Warnings", left, y)
    for warning in result.warnings:
        y = _paragraph(page, f"• {warning.message}", left, right, y)
    if not result.warnings:
        y = _paragraph(page, "None.", left, right, y)
    y = _heading(page, "Models", left, y + 6)
    for model in result.models:
        text = f"{model.name} {model.version} ({model.engine})"
        page.items.append(fitted(Words(left, y, text, _TEXT, PAPER.ink), right - left))
        y += _LINE
    return y


def _heading(page: Scene, text: str, x: float, y: float) -> float:
    page.items.append(Words(x, y + 6, text, 9, PAPER.ink, bold=True))
    return y + 6 + 1.3 * _LINE


def _paragraph(page: Scene, text: str, left: float, right: float, y: float) -> float:
    for line in wrap(text, _TEXT, (right - left) / 1.03):
        page.items.append(Words(left, y, line, _TEXT, PAPER.ink))
        y += _LINE
    return y


def _foot(page: Scene, y: float) -> None:
    right = _WIDTH - _EDGE
    page.items.append(Box((_EDGE, y, right, y + 0.5), PAPER.muted))
    note = "Percentages are the networks' probabilities. Severity: mild is Pfirrmann I–II, moderate III, severe IV–V."
    page.items.append(Words(_EDGE, y + 10, note, 7, PAPER.muted))
    page.items.append(Words(right, y + 10, "Research use only", 7, PAPER.ink, bold=True, align="end"))
