"""Pictures of where the networks fail, and of where they do not; images of SPIDER, CC BY 4.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from preprocess.discs import DiscCrops
from preprocess.grid import Grid, to_grid
from training.config import Match
from training.data import DataSet, Series
from training.evaluation.plots import COLOURS
from training.evaluation.rows import SeriesRow
from training.evaluation.table import Discs
from training.grading import pair_discs
from training.segmentation import Segment, find_discs, labels_on_grid

__all__ = ["ATTRIBUTION", "gradings", "namings", "observed", "outlines"]

ATTRIBUTION = "Images: SPIDER (van der Graaf et al., Sci Data 11, 264, 2024), CC BY 4.0; outlines added"
_ROMAN = ("I", "II", "III", "IV", "V")
_COLUMNS = 4
_A_PATIENT = 2  # of the discs graded worst: one patient could fill the sheet
_MARGIN = 40  # pixels of the 0.5 mm grid


def _sheet(panels: int, height: float) -> tuple[Canvas, list[Axes]]:
    rows = -(-panels // _COLUMNS)
    canvas = Canvas(figsize=(2.3 * _COLUMNS, height * rows + 0.3), layout="constrained")
    axes = [canvas.add_subplot(rows, _COLUMNS, index + 1) for index in range(panels)]
    for one in axes:
        one.set_axis_off()
    canvas.supxlabel(ATTRIBUTION, fontsize=7)
    return canvas, axes


def _series(data: DataSet, row: SeriesRow) -> Series:
    return next(one for one in data.series if one.name == row.name and one.masked == (row.overlap is not None))


def _found(series: Series, segment: Segment) -> tuple[Grid, DiscCrops | None]:
    grid = to_grid(series.volume())
    return grid, find_discs(grid, *segment(grid.pixels))


def _middle(grid: Grid, found: DiscCrops | None) -> int:
    return len(grid.pixels) // 2 if found is None else int(np.median(found.middle_slices))


def _show(axes: Axes, grid: Grid, index: int, around: NDArray[np.bool_], behind: int = 0) -> tuple[slice, slice]:
    """Show the part of a slice around some pixels, and so much more behind them; gives its rows and columns."""
    box = []
    for axis, (start, end) in enumerate((grid.field_of_view[:2], grid.field_of_view[2:])):
        own = np.flatnonzero(around.any(1 - axis))
        first, last = (own[0], own[-1]) if len(own) else (start, end)
        box.append(slice(max(start, int(first) - _MARGIN), min(end, int(last) + _MARGIN + axis * behind)))
    rows, columns = box
    axes.imshow(grid.pixels[index][rows, columns], cmap="gray", vmin=0, vmax=190)
    return rows, columns


def outlines(data: DataSet, rows: Sequence[SeriesRow], segment: Segment, most: int = 8) -> Canvas | None:
    """Worst and best masked series: outlines of prediction (orange) and mask (blue), middle slice."""
    ranked = sorted(
        (row for row in rows if row.overlap is not None), key=lambda row: row.overlap.dice if row.overlap else 1
    )
    shown = ranked if len(ranked) <= most else [*ranked[: most - 2], *ranked[-2:]]
    if not shown:
        return None
    canvas, axes = _sheet(len(shown), 3.0)
    for one, row in zip(axes, shown, strict=True):
        series = _series(data, row)
        _beside(one, series, (series.labels() == 1).astype(np.uint8), segment)
        dice = row.overlap.dice if row.overlap else 0.0
        one.set_title(f"{row.patient} {row.sequence.replace('t2_', '')}: Dice {dice:.2f}", fontsize=8)
    return canvas


def observed(data: DataSet, rows: Sequence[SeriesRow], segment: Segment, most: int = 8) -> Canvas | None:
    """Series without masks, some discs of which a second observer outlined (blue), and the prediction (orange)."""
    shown = [row for row in rows if row.outlined and row.overlap is None][:most]
    if not shown:
        return None
    canvas, axes = _sheet(len(shown), 3.0)
    for one, row in zip(axes, shown, strict=True):
        series = _series(data, row)
        discs = data.outlined(series)
        assert discs is not None
        _beside(one, series, (discs > 0).astype(np.uint8), segment)
        dice = float(np.mean([disc.dice for disc in row.outlined]))
        one.set_title(f"{row.patient}: Dice {dice:.2f}", fontsize=8)
    return canvas


def _beside(axes: Axes, series: Series, reference: NDArray[np.uint8], segment: Segment) -> None:
    """Outlines of the reference, blue, and of the prediction, orange, on the middle slice."""
    grid, found = _found(series, segment)
    index = _middle(grid, found)
    mask = labels_on_grid(reference[index], grid) == 1
    instances = np.zeros(mask.shape, np.uint8) if found is None else found.instances[index]
    box = _show(axes, grid, index, mask | (instances > 0))
    for label, colour in ((mask, COLOURS[5]), (instances > 0, COLOURS[4])):
        axes.contour(label[box], [0.5], colors=[colour], linewidths=0.8)


def namings(data: DataSet, rows: Sequence[SeriesRow], segment: Segment, most: int = 8) -> Canvas | None:
    """Series whose number of discs is not the graded one, with the names that were given."""
    by_name = {row.name: row for row in rows if row.graded and len(row.levels) != len(row.graded)}
    wrong = list(by_name.values())  # a series may be there twice
    wrong.sort(key=lambda row: -abs(len(row.levels) - len(row.graded)))
    if not wrong:
        return None
    canvas, axes = _sheet(len(wrong[:most]), 3.0)
    for one, row in zip(axes, wrong[:most], strict=True):
        grid, found = _found(_series(data, row), segment)
        nothing = np.zeros(grid.pixels.shape[1:], bool)
        box = _show(
            one, grid, _middle(grid, found), nothing if found is None else (found.instances > 0).any(0), behind=70
        )
        for index, level in enumerate(() if found is None else found.levels):
            assert found is not None
            middle = int(found.middle_slices[index])
            own = found.instances[middle] == index + 1
            one.contour(
                own[box],
                [0.5],
                colors=[COLOURS[4]],
                linewidths=0.8,
            )
            place = np.argwhere(own).mean(0)
            one.text(
                place[1] - box[1].start + 45,
                place[0] - box[0].start,
                level,
                color="white",
                fontsize=6,
                va="center",
                clip_on=True,
            )
        title = f"{row.patient} {row.sequence}: found {len(row.levels)}, graded {len(row.graded)}"
        one.set_title(title, fontsize=7)
    return canvas


def gradings(data: DataSet, discs: Discs, segment: Segment, match: Match = "level", most: int = 12) -> Canvas | None:
    """Discs whose answered Pfirrmann grade is farthest from the graded one, as the grader sees them; two a patient."""
    answer, truth = discs.warm["pfirrmann"].argmax(1), discs.truth["pfirrmann"]
    order = np.lexsort((-discs.warm["pfirrmann"].max(1), -np.abs(answer - truth)))
    shown = Counter[str]()
    chosen: list[int] = []
    for i in order.tolist():
        patient = discs.rows[i].patient
        if answer[i] != truth[i] and shown[patient] < _A_PATIENT and len(chosen) < most:
            shown[patient] += 1
            chosen.append(i)
    if not chosen:
        return None
    canvas, axes = _sheet(len(chosen), 1.75)
    for one, i in zip(axes, chosen, strict=True):
        row, disc = discs.rows[i], discs.discs[i]
        _, found = _found(_series(data, row), segment)
        assert found is not None  # it was graded
        index = pair_discs(found, data.gradings[row.patient], match)[disc.position]
        crop = found.crops[index, 1]
        one.imshow(crop[0], cmap="gray", vmin=0, vmax=2.2)
        one.contour(crop[1], [0.5], colors=[COLOURS[4]], linewidths=0.6)
        sure = discs.warm["pfirrmann"][i].max()
        one.set_title(
            f"{row.patient} {found.levels[index]}: graded {_ROMAN[truth[i]]}, {_ROMAN[answer[i]]} ({sure:.0%})",
            fontsize=7,
        )
    return canvas
