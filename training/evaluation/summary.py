"""What is said of a set of predictions: every figure of the model cards, by name."""

from __future__ import annotations

from pydantic import BaseModel

from training.evaluation.bootstrap import Figure

__all__ = [
    "FOUND_DICE",
    "SEVERITIES",
    "Figures",
    "Finding",
    "Grading",
    "LevelDice",
    "Naming",
    "Outlined",
    "Repeat",
    "Segmentation",
]

SEVERITIES = ("mild", "moderate", "severe")
FOUND_DICE = 0.5
"""A disc of a mask is found where a predicted disc has this Dice with it."""


class Segmentation(BaseModel):
    """Discs as served against masks; distances in mm in plane, means over patients."""

    patients: int
    dice: Figure
    iou: Figure
    hd95_mm: Figure
    assd_mm: Figure
    pooled_dice: Figure
    height_bias_mm: Figure
    by_patient: dict[str, float]


class LevelDice(BaseModel):
    """Dice of single discs of one level with the predicted disc that covers most of each; 0 for missed ones."""

    discs: int
    dice: Figure


class Outlined(BaseModel):
    """Single discs against a second observer's outlines, each on one slice.

    Attributes:
        patients: Number of patients.
        discs: Number of discs.
        dice: Of network and observer.
        area_ratio: Area of the network's disc over the observer's.
        mask_dice: Of observer and mask; None where there are no masks.
        predicted_mask_dice: Of network and mask on the same discs and slices; None where there are no masks.
    """

    patients: int
    discs: int
    dice: Figure
    area_ratio: Figure
    mask_dice: Figure | None
    predicted_mask_dice: Figure | None


class Naming(BaseModel):
    """Whether discs are found and get their right name.

    Attributes:
        patients: Of the series.
        series: How many.
        discs: Of masks (those cut by the border left out), or graded ones.
        found: Share of the masks' discs that a predicted one matches; not known without masks.
        named: Share of discs that are found under their right name; without masks, whose name is among those found.
        lumbar_named: The same of the five lumbar discs.
        right_count: Share of series with as many discs as the mask shows or as were graded.
        extra: Predicted discs a series that are none of the mask's.
    """

    patients: int
    series: int
    discs: int
    found: Figure | None
    named: Figure
    lumbar_named: Figure
    right_count: Figure
    extra: Figure | None


class Grading(BaseModel):
    """Gradings of paired discs; rates of severity are means over its three classes."""

    patients: int
    discs: int
    severity: dict[str, Figure]
    severity_auc: dict[str, Figure]
    pfirrmann: dict[str, Figure]
    severity_ece: Figure
    pfirrmann_ece: Figure


class Repeat(BaseModel):
    """Discs that were judged on ordinary T2 and on T2 SPACE of the same patient.

    Attributes:
        patients: Number of patients.
        discs: Number of discs.
        same: Share whose severity is the same on both.
        wrong: Share of answers that are not the reader's.
        wrong_alike: Share of these that the other sequence repeats: not the image's fault, but the reader's or the
            network's.
    """

    patients: int
    discs: int
    same: Figure
    wrong: Figure
    wrong_alike: Figure


class Finding(BaseModel):
    """One finding, present or absent; sensitivity and specificity at a probability of one half."""

    discs: int
    present: int
    auc: Figure
    sensitivity: Figure
    specificity: Figure
    ece: Figure


class Figures(BaseModel):
    """All figures of a set of predictions.

    Attributes:
        patients: Number of patients that were judged.
        segmentation: Against masks: ``all``, and by each of ``ROW_GROUPINGS``, such as ``sequence: t2``.
        levels: Dice of single discs against masks, by level.
        outlined: Against a second observer, by sequence.
        naming: By sequence and what it is judged by, such as ``t2 by gradings``.
        grading: ``all``, and by each of ``GROUPINGS``, such as ``scanner: Siemens Aera``; after temperature.
        uncalibrated: ``all`` without temperatures.
        repeat: Of discs that were judged on both sequences; None where there are none.
        shared: Of the variance of the reader's Pfirrmann grade about the expected one, the share that all discs of a
            patient have in common; None without gradings.
        findings: By name.
        temperatures: By head, fitted to all discs here: what a network trained on everybody may be served with.
        unpaired: Names of graded series whose discs could not be paired.
        graded_series: Number of graded series.
    """

    patients: int
    segmentation: dict[str, Segmentation]
    levels: dict[str, LevelDice]
    outlined: dict[str, Outlined]
    naming: dict[str, Naming]
    grading: dict[str, Grading]
    uncalibrated: Grading | None
    repeat: Repeat | None
    shared: Figure | None
    findings: dict[str, Finding]
    temperatures: dict[str, float]
    unpaired: list[str]
    graded_series: int
