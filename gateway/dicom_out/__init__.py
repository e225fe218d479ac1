"""Results as DICOM objects, made when they are first asked for: segmentation, report, picture and document.

All are functions of what is kept with a result and of nothing else, not even the clock: the same input gives the
same bytes, and so the same UIDs never name different content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from discgrade.errors import NotFound
from discgrade.result import GradingResult
from gateway.dicom_out.source import pack_source, unpack_source
from gateway.storage import OVERLAY, RESULT, SEGMENTATION, SOURCE
from preprocess.quiet import quiet

if TYPE_CHECKING:
    from gateway.dicom_out.content import Content

__all__ = [
    "DICOM_FILES",
    "DICOM_OVERLAY",
    "DICOM_PDF",
    "DICOM_REPORT",
    "DICOM_SEGMENTATION",
    "build_dicom",
    "build_overlay",
    "build_pdf",
    "pack_source",
]

DICOM_SEGMENTATION = "segmentation.dcm"
DICOM_REPORT = "report.sr.dcm"
DICOM_OVERLAY = "overlay.dcm"
DICOM_PDF = "report.pdf.dcm"
DICOM_FILES = frozenset({DICOM_SEGMENTATION, DICOM_REPORT})
"""What :func:`build_dicom` makes."""

_NOT_OF_NIFTI = "The study was sent as NIfTI, which says nothing of patient, study or series."
_NOT_KEPT = "The result was kept without what DICOM objects must repeat of its series."
_ADVICE = "Take segmentation.nii.gz and the result as JSON, or grade the DICOM series itself."


def build_dicom(kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make segmentation and structured report.

    Args:
        kept: Files of a result by name; the result and the label image are needed.

    Returns:
        The Part 10 files under the names of :data:`DICOM_FILES`.

    Raises:
        NotFound: Nothing is known of a DICOM series that they could belong to.
    """
    with quiet():  # the libraries warn of odd values in the source's header, and quote them
        content = _content(kept)
        from gateway.dicom_out.seg import segmentation
        from gateway.dicom_out.sr import report
        from gateway.dicom_out.write import part10

        return {DICOM_SEGMENTATION: part10(segmentation(content)), DICOM_REPORT: part10(report(content))}


def build_overlay(kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make the secondary capture, of the same files and the overlay.

    Raises:
        NotFound: As above.
    """
    with quiet():
        content = _content(kept)
        from gateway.dicom_out.capture import secondary_capture
        from gateway.dicom_out.write import part10

        return {DICOM_OVERLAY: part10(secondary_capture(content, kept[OVERLAY]))}


def build_pdf(kept: Mapping[str, bytes], write: Callable[[str], bytes], title: str) -> dict[str, bytes]:
    """Make the encapsulated PDF.

    Args:
        kept: As above.
        write: Makes the document, given what names the result in it.
        title: Of the document.

    Raises:
        NotFound: As above.
    """
    with quiet():
        content = _content(kept)
        from gateway.dicom_out.document import encapsulated_pdf
        from gateway.dicom_out.write import part10

        # Not by its id, which is another whenever the study is graded: the object would be another, too.
        pdf = write(f"DICOM SR {content.uid('report')}")
        return {DICOM_PDF: part10(encapsulated_pdf(content, pdf, title))}


def _content(kept: Mapping[str, bytes]) -> Content:
    result = GradingResult.model_validate_json(kept[RESULT])
    if result.input.format == "nifti":
        raise NotFound(_NOT_OF_NIFTI, _ADVICE)
    if SOURCE not in kept:
        raise NotFound(_NOT_KEPT, _ADVICE)
    # Only here: it needs highdicom, which takes a second to load, and most processes never ask.
    from gateway.dicom_out.content import content_of

    return content_of(result, unpack_source(kept[SOURCE]), kept[SEGMENTATION])
