"""Pictures of results for people, made of what is kept when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping

from discgrade.result import DISCLAIMER, GradingResult
from gateway.pictures.overlay import draw_overlay
from gateway.pictures.paint_png import paint
from gateway.pictures.planes import Planes, read_planes
from gateway.pictures.png_out import png
from gateway.pictures.report import TITLE, draw_report
from gateway.storage import IMAGE, RESULT, SEGMENTATION

__all__ = ["REPORT", "REPORT_TITLE", "make_overlay", "make_report"]

REPORT = "report.pdf"
REPORT_TITLE = TITLE


def make_overlay(kept: Mapping[str, bytes]) -> bytes:
    """The overlay as PNG.

    Args:
        kept: Files of a result by name: the result, the label image and the image.
    """
    return png(paint(draw_overlay(*_read(kept))))


def make_report(kept: Mapping[str, bytes], reference: str | None = None) -> bytes:
    """The report as PDF.

    Args:
        kept: As above.
        reference: What names the result on the page; its id when omitted.
    """
    from gateway.pictures import paint_pdf  # only here: ReportLab takes its time to load

    planes, result = _read(kept)
    page = draw_report(planes, result, reference or result.result_id)
    return paint_pdf.paint(page, REPORT_TITLE, DISCLAIMER)


def _read(kept: Mapping[str, bytes]) -> tuple[Planes, GradingResult]:
    return read_planes(kept[IMAGE], kept[SEGMENTATION]), GradingResult.model_validate_json(kept[RESULT])
