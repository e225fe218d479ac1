"""Files of a result that are made of others, when they are first asked for.

Each is a function of what it is made of and of nothing else, so that it may be made anywhere, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from discgrade.errors import NotFound
from gateway.dicom_out import DICOM_FILES, DICOM_OVERLAY, DICOM_PDF, build_dicom, build_overlay, build_pdf
from gateway.pictures import REPORT, REPORT_TITLE, make_overlay, make_report
from gateway.storage import IMAGE, OVERLAY, RESULT, SEGMENTATION, SOURCE

__all__ = ["MADE", "PUBLIC_FILES", "Recipe", "make_all"]

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Recipe:
    """How a file is made.

    Attributes:
        of: What must be there; those that lack give NotFound.
        make: Makes it, and what comes along with it, by name.
        where_there: What is used where it is there.
    """

    of: tuple[str, ...]
    make: Callable[[Files], Files]
    where_there: tuple[str, ...] = ()


def _encapsulated(kept: Files) -> Files:
    return build_pdf(kept, lambda reference: make_report(kept, reference), REPORT_TITLE)


_DICOM = Recipe((RESULT, SEGMENTATION), build_dicom, (SOURCE,))
MADE: dict[str, Recipe] = {
    OVERLAY: Recipe((RESULT, SEGMENTATION, IMAGE), lambda kept: {OVERLAY: make_overlay(kept)}),
    REPORT: Recipe((RESULT, SEGMENTATION, IMAGE), lambda kept: {REPORT: make_report(kept)}),
    **dict.fromkeys(sorted(DICOM_FILES), _DICOM),
    DICOM_OVERLAY: Recipe((RESULT, SEGMENTATION, OVERLAY), build_overlay, (SOURCE,)),
    DICOM_PDF: Recipe((RESULT, SEGMENTATION, IMAGE), _encapsulated, (SOURCE,)),
}
"""By name, each after those it is made of."""

PUBLIC_FILES = (SEGMENTATION, IMAGE, *MADE)
"""Names of the files of a result that are given away beside the result itself."""


def make_all(kept: Files) -> dict[str, bytes]:
    """Make every file that can be made of a result.

    Args:
        kept: What was kept when it was graded.

    Returns:
        That, and what was made.
    """
    files = dict(kept)
    for name, recipe in MADE.items():
        if name not in files and files.keys() >= set(recipe.of):
            try:
                files.update(recipe.make(files))
            except (
                NotFound
            ):  # DICOM objects of a NIfTI study, or of objects without the UIDs that others could refer to
                continue
    return files
