"""Run both networks over held-out patients, as they are served, and write down what they answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from preprocess.discs import DiscCrops
from preprocess.frame import disc_frame
from preprocess.grid import Grid, to_grid
from training.config import Match
from training.data import DataSet, Grading, Series
from training.evaluation.overlap import overlap
from training.evaluation.rows import GradedDisc, OutlinedDisc, ReferenceDisc, SeriesRow
from training.grading import HEADS, UNKNOWN, pair_discs, targets_of
from training.metrics import dice
from training.networks import ExportedGrader
from training.segmentation import Segment, discs_on_source, find_discs, labels_on_grid

__all__ = ["predict", "predict_series"]


def predict(
    data: DataSet,
    patients: Collection[str],
    segment: Segment,
    grader: ExportedGrader,
    *,
    match: Match = "level",
    group: str = "",
) -> list[SeriesRow]:
    """Answers for every series of some patients.

    Args:
        data: The data set.
        patients: Held out from both networks.
        segment: The segmenter.
        grader: The graders.
        match: How discs are paired with gradings.
        group: The fold or seed, for the rows.
    """
    series = [one for one in data.series if one.patient in patients]
    return [
        predict_series(data, one, segment, grader, match=match, group=group)
        for one in track(series, "judging", console=Console(stderr=True), transient=True)
    ]


def predict_series(
    data: DataSet,
    series: Series,
    segment: Segment,
    grader: ExportedGrader,
    *,
    match: Match = "level",
    group: str = "",
) -> SeriesRow:
    """The answer for one series; arguments as for :func:`predict`."""
    grid = to_grid(series.volume())
    labels, probability = segment(grid.pixels)
    found = find_discs(grid, labels, probability)
    made = data.acquisition(series)
    graded = data.gradings.get(series.patient, {})
    row = SeriesRow(
        patient=series.patient,
        name=series.name,
        sequence=series.sequence,
        slices=len(grid.pixels),
        sex=made.sex,
        scanner=made.scanner,
        field_strength=made.field_strength,
        group=group,
        levels=[] if found is None else list(found.levels),
        warnings=[] if found is None else list(found.warnings),
        graded=sorted(graded),
    )
    predicted = discs_on_source(grid, found, probability)
    if series.masked:
        _compare(row, series, grid, found, predicted)
    outlines = data.outlined(series)
    if outlines is not None:
        row.outlined = list(_outlined_discs(outlines, predicted, series.discs() if series.masked else None))
    if found is not None:
        row.discs = _grade(found, graded, grader, match)
    return row


def _compare(row: SeriesRow, series: Series, grid: Grid, found: DiscCrops | None, predicted: NDArray[np.uint8]) -> None:
    """Put the prediction beside the mask, on the pixels of the source."""
    reference = series.discs()
    spacing = grid.source.spacing
    row.overlap = overlap(predicted > 0, series.labels() == 1, (spacing[1], spacing[2]))
    row.reference = list(_reference_discs(reference, predicted, grid, found))
    labels = range(1, 1 + (0 if found is None else len(found.levels)))
    row.extra = sum(1 for label in labels if not (reference[predicted == label] > 0).any())


def _reference_discs(
    reference: NDArray[np.uint8], predicted: NDArray[np.uint8], grid: Grid, found: DiscCrops | None
) -> Iterator[ReferenceDisc]:
    for number in range(1, int(reference.max()) + 1):
        own = reference == number
        if not own.any():
            continue
        cut = bool(own[:, [0, -1]].any() or own[:, :, [0, -1]].any())
        best = _most_of(predicted, own)
        disc = ReferenceDisc(number=number, cut=cut, dice=0.0, level=None, height_mm=None, predicted_height_mm=None)
        if best and found is not None:
            disc.dice = dice(predicted == best, own)
            disc.level = found.levels[best - 1]
            middle = int(found.middle_slices[best - 1])
            mask = labels_on_grid(own[middle].astype(np.uint8), grid) == 1
            if mask.any():
                disc.height_mm = disc_frame(mask).height_mm
                disc.predicted_height_mm = disc_frame(found.instances[middle] == best).height_mm
        yield disc


def _outlined_discs(
    outlines: NDArray[np.uint8], predicted: NDArray[np.uint8], reference: NDArray[np.uint8] | None
) -> Iterator[OutlinedDisc]:
    for number in range(1, int(outlines.max()) + 1):
        shown = (outlines == number).any((1, 2))
        own = outlines[shown] == number
        if not own.any():
            continue
        found = _covering(predicted[shown], own)
        disc = OutlinedDisc(number=number, dice=dice(found, own), area_ratio=float(found.sum() / own.sum()))
        if reference is not None:
            mask = _covering(reference[shown], own)
            disc.mask_dice, disc.predicted_mask_dice = dice(own, mask), dice(found, mask)
        yield disc


def _covering(labels: NDArray[np.uint8], region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the label is that covers most of a region; nowhere where none does."""
    best = _most_of(labels, region)
    return labels == best if best else np.zeros_like(region)


def _most_of(labels: NDArray[np.uint8], region: NDArray[np.bool_]) -> int:
    """The label that covers most of a region; 0 where none does."""
    under = np.bincount(labels[region], minlength=2)
    return int(under[1:].argmax()) + 1 if under[1:].any() else 0


@torch.no_grad()
def _grade(found: DiscCrops, graded: Mapping[int, Grading], grader: ExportedGrader, match: Match) -> list[GradedDisc]:
    pairs = pair_discs(found, graded, match)
    if not pairs:
        return []
    heads = grader.heads(torch.from_numpy(found.crops), torch.from_numpy(found.features))
    return [
        GradedDisc(
            position=position,
            truth=dict(_known(targets_of(graded[position]))),
            probabilities={name: [round(p, 6) for p in values[index].tolist()] for name, values in heads.items()},
        )
        for position, index in pairs.items()
    ]


def _known(targets: Iterable[int]) -> Iterator[tuple[str, int]]:
    return ((name, int(value)) for name, value in zip(HEADS, targets, strict=True) if value != UNKNOWN)
