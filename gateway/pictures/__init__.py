"""Pictures of results for people, made of what is kept when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping

from discgrade.result import GradingResult
from gateway.pictures.overlay import draw_overlay
from gateway.pictures.paint_png import paint
from gateway.pictures.planes import Planes, read_planes
from gateway.pictures.png_out import png
from gateway.storage import IMAGE, RESULT, SEGMENTATION

__all__ = ["make_overlay"]


def make_overlay(kept: Mapping[str, bytes]) -> bytes:
    """The overlay as PNG.

    Args:
        kept: Files of a result by name: the result, the label image and the image.
    """
    return png(paint(draw_overlay(*_read(kept))))


def _read(kept: Mapping[str, bytes]) -> tuple[Planes, GradingResult]:
    return read_planes(kept[IMAGE], kept[SEGMENTATION]), GradingResult.model_validate_json(kept[RESULT])
