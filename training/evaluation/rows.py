"""What the networks answered for held-out patients, beside the truth; the raw material of every figure."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from discgrade.errors import UnreadableFile
from training.evaluation.overlap import Overlap

__all__ = ["GradedDisc", "OutlinedDisc", "ReferenceDisc", "SeriesRow", "read_rows", "write_rows"]


class ReferenceDisc(BaseModel):
    """A disc of a mask.

    Attributes:
        number: From the bottom, 1 = L5/S1.
        cut: The border of the image cuts it; such discs are not served.
        dice: With the predicted disc that covers most of it; 0 where there is none.
        level: That disc's name, or None.
        height_mm: By the mask, mean over the middle 80 % of its length on the predicted disc's middle slice; None
            where it was not found or the mask does not reach that slice.
        predicted_height_mm: By the prediction.
    """

    number: int
    cut: bool
    dice: float
    level: str | None
    height_mm: float | None
    predicted_height_mm: float | None


class OutlinedDisc(BaseModel):
    """A disc that a second observer outlined on one slice; Dice coefficients are of that slice.

    Attributes:
        number: From the bottom, 1 = L5/S1.
        dice: Of the outline with the predicted disc that covers most of it; 0 where there is none.
        area_ratio: Area of that disc over the outline's.
        mask_dice: Of the outline with the mask's disc; None without a mask.
        predicted_mask_dice: Of the predicted disc with the mask's disc; None without a mask.
    """

    number: int
    dice: float
    area_ratio: float
    mask_dice: float | None = None
    predicted_mask_dice: float | None = None


class GradedDisc(BaseModel):
    """A disc that was paired with a grading.

    Attributes:
        position: From the bottom, 1 = L5/S1.
        truth: Class by head, for heads that were graded.
        probabilities: By head, of each class; before temperature and before both heads are made to agree.
    """

    position: int
    truth: dict[str, int]
    probabilities: dict[str, list[float]]


class SeriesRow(BaseModel):
    """One series of a held-out patient.

    Attributes:
        patient: Of the data set.
        name: Of the series in the data set.
        sequence: ``t2`` or ``t2_SPACE``.
        slices: How many were shown.
        sex: ``F`` or ``M``; empty where unknown, as the next two.
        scanner: Manufacturer and model.
        field_strength: Such as ``1.5 T``.
        group: The fold or seed that held this patient out.
        levels: Names of the discs that were found, from the lowest upward.
        warnings: Codes of ``preprocess.levels.WARNING_MESSAGES``.
        graded: Positions that were graded; empty where the patient was not.
        overlap: With the mask, where there is one.
        reference: Discs of the mask.
        extra: Predicted discs that touch no disc of the mask.
        outlined: Discs that a second observer outlined.
        discs: Discs that were paired with gradings.
    """

    patient: str
    name: str
    sequence: str
    slices: int
    sex: str
    scanner: str
    field_strength: str
    group: str = ""
    levels: list[str] = []
    warnings: list[str] = []
    graded: list[int] = []
    overlap: Overlap | None = None
    reference: list[ReferenceDisc] = []
    extra: int = 0
    outlined: list[OutlinedDisc] = []
    discs: list[GradedDisc] = []


_ROWS = TypeAdapter(list[SeriesRow])


def write_rows(rows: Sequence[SeriesRow], path: Path) -> None:
    """Keep rows as packed JSON, the same bytes for the same rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(gzip.compress(_ROWS.dump_json(list(rows), exclude_defaults=True), mtime=0))
    partial.replace(path)


def read_rows(path: Path) -> list[SeriesRow]:
    """Read what :func:`write_rows` kept.

    Raises:
        UnreadableFile: The file is something else.
    """
    try:
        return _ROWS.validate_json(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValidationError) as error:
        raise UnreadableFile(f"{path.name} holds no predictions.", "Evaluate the run again.") from error
