"""Results as DICOM objects: a segmentation (SEG) and a structured report (SR), made when they are first asked for.

Both are functions of what is kept with a result and of nothing else, not even the clock: the same input gives the
same bytes, and so the same UIDs never name different content.
"""

from __future__ import annotations

from collections.abc import Mapping

from discgrade.errors import NotFound
from discgrade.result import GradingResult
from gateway.dicom_out.source import pack_source, unpack_source
from gateway.storage import RESULT, SEGMENTATION, SOURCE
from preprocess.quiet import quiet

__all__ = ["DICOM_FILES", "DICOM_REPORT", "DICOM_SEGMENTATION", "build_dicom", "pack_source"]

DICOM_SEGMENTATION = "segmentation.dcm"
DICOM_REPORT = "report.sr.dcm"
DICOM_FILES = frozenset({DICOM_SEGMENTATION, DICOM_REPORT})

_NOT_OF_NIFTI = "The study was sent as NIfTI, which says nothing of patient, study or series."
_NOT_KEPT = "The result was kept without what DICOM objects must repeat of its series."
_ADVICE = "Take segmentation.nii.gz and the result as JSON, or grade the DICOM series itself."


def build_dicom(kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make both objects.

    Args:
        kept: Files of a result by name; the result and the label image are needed.

    Returns:
        The Part 10 files under the names of :data:`DICOM_FILES`.

    Raises:
        NotFound: Nothing is known of a DICOM series that they could belong to.
    """
    result = GradingResult.model_validate_json(kept[RESULT])
    if result.input.format == "nifti":
        raise NotFound(_NOT_OF_NIFTI, _ADVICE)
    if SOURCE not in kept:
        raise NotFound(_NOT_KEPT, _ADVICE)
    # Only here: they need highdicom, which takes a second to load, and most processes never ask.
    from gateway.dicom_out.content import content_of
    from gateway.dicom_out.seg import segmentation
    from gateway.dicom_out.sr import report
    from gateway.dicom_out.write import part10

    with quiet():  # the libraries warn of odd values in the source's header, and quote them
        content = content_of(result, unpack_source(kept[SOURCE]), kept[SEGMENTATION])
        return {DICOM_SEGMENTATION: part10(segmentation(content)), DICOM_REPORT: part10(report(content))}
