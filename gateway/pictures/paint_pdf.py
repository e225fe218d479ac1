"""Paints a scene as a page of PDF, with real text and lines."""

from __future__ import annotations

import io
import threading
from typing import Any

from PIL import Image
from reportlab import rl_config
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

import discgrade
from gateway.pictures.scene import Box, Colour, Points, Raster, Scene, Stroke, Words, font_file

__all__ = ["paint"]

_NEARLY_BLACK = (8, 8, 10)
_ROUND = 1
rl_config.useA85 = 0  # streams as bytes, not as letters, which take a quarter more room
_one_at_a_time = threading.Lock()  # ReportLab keeps its fonts in one place for all


def paint(scene: Scene, title: str, subject: str) -> bytes:
    """Paint a scene, a point (1/72 inch) a unit.

    Args:
        scene: The page.
        title: Of the document.
        subject: Likewise.

    Returns:
        A file whose fonts are embedded. The same scene gives the same bytes: no date, no random id.
    """
    file = io.BytesIO()
    with _one_at_a_time:
        for bold in (False, True):
            pdfmetrics.registerFont(TTFont(_font(bold=bold), str(font_file(bold=bold))))
        font: Any = _font(bold=False)  # the stubs take its name for a number; ReportLab's own is not embedded
        size = scene.width, scene.height
        page = Canvas(file, pagesize=size, invariant=1, lang="en", initialFontName=font)
        page.setTitle(title)
        page.setSubject(subject)
        page.setAuthor(f"discgrade {discgrade.__version__}")
        page.setCreator("discgrade")
        page.setLineCap(_ROUND)
        page.setLineJoin(_ROUND)
        for item in scene.items:
            _paint(page, scene.height, item)
        page.showPage()
        page.save()
    return file.getvalue()


def _font(*, bold: bool) -> str:
    return "Vera-Bold" if bold else "Vera"


def _paint(page: Canvas, height: float, item: Raster | Stroke | Box | Words) -> None:
    """PDF counts y from the bottom."""
    match item:
        case Raster():
            left, top, right, bottom = item.box
            picture = ImageReader(Image.fromarray(item.pixels))
            page.drawImage(picture, left, height - bottom, right - left, bottom - top)
        case Stroke():
            if item.edge:
                _line(page, height, item.points, _NEARLY_BLACK, item.width + 2 * item.edge)
            _line(page, height, item.points, item.colour, item.width)
        case Box():
            left, top, right, bottom = item.box
            page.setFillColorRGB(*_shares(item.colour))
            page.rect(left, height - bottom, right - left, bottom - top, stroke=0, fill=1)
        case Words():
            page.setFillColorRGB(*_shares(item.colour))
            page.setFont(_font(bold=item.bold), item.size)
            page.drawString(item.left, height - item.y, item.text)


def _line(page: Canvas, height: float, points: Points, colour: Colour, width: float) -> None:
    page.setStrokeColorRGB(*_shares(colour))
    page.setLineWidth(width)
    path = page.beginPath()
    (x, y), *others = points.tolist()
    path.moveTo(x, height - y)
    for x, y in others:
        path.lineTo(x, height - y)
    page.drawPath(path, stroke=1, fill=0)


def _shares(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = (channel / 255 for channel in colour)
    return red, green, blue
