"""A sagittal slice with its discs outlined, and beside it a label for each: the overlay's and the report's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from discgrade.result import Disc, GradingResult
from gateway.pictures.look import COLOURS, Palette, fitted, grade_text, is_unsure, name_of, outline
from gateway.pictures.planes import DiscPlace, Planes, Window, places_of, shown_slice
from gateway.pictures.scene import Box, Points, Raster, Stroke, Words
from preprocess.levels import UNKNOWN

__all__ = ["Figure", "Measures", "draw_figure", "spread"]

_MARGIN_MM = 45.0
_SEEN_HERE = 1 / 3  # of the disc's area on its own slice; less is drawn from there
_BAR_MM = (100, 50, 20, 10, 5)
_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class Measures:
    """Sizes in units of the scene.

    Attributes:
        image: Largest width and height of the slice.
        least: Smallest width and height of the room that it is centred in.
        panel: Width of the labels beside it.
        gap: Height of a label where there is room.
        least_gap: Height of a label at least; the room grows with the number of labels.
        strip: Height of the marks above the slice, and of the scale below it.
        line: Width of an outline.
        pixels: Pixels of the slice for a unit.
    """

    image: tuple[float, float]
    least: tuple[float, float]
    panel: float
    gap: float
    least_gap: float
    strip: float
    line: float
    pixels: float


@dataclass(frozen=True, eq=False)
class Figure:
    """What was drawn.

    Attributes:
        items: From the figure's own corner.
        width: With the panel.
        height: With the strips above and below.
        index: The slice, 0-based.
        borrowed: Whether discs are outlined that lie on other slices.
        unsure: Whether levels are marked as uncertain.
    """

    items: list[Raster | Stroke | Box | Words]
    width: float
    height: float
    index: int
    borrowed: bool
    unsure: bool


def draw_figure(planes: Planes, result: GradingResult, measures: Measures, palette: Palette) -> Figure:
    """Draw the slice on which most discs lie, with outlines and labels.

    Nothing is written on the slice: marks of direction stand above it, the scale below, and the labels beside it in
    the order of their discs, each joined to its own.
    """
    discs = sorted(result.discs, key=lambda disc: disc.label, reverse=True)
    places = places_of(planes, result)
    index = shown_slice(places)
    window = _window(planes, places, measures.image)
    width, height = window.size
    room = max(width, measures.least[0]), max(height, measures.least[1], len(discs) * measures.least_gap)
    x, y = (room[0] - width) / 2, measures.strip + (room[1] - height) / 2
    size = max(1, round(width * measures.pixels)), max(1, round(height * measures.pixels))
    items: list[Raster | Stroke | Box | Words] = [
        Box((0.0, measures.strip, room[0], measures.strip + room[1]), _BLACK),
        Raster((x, y, x + width, y + height), planes.grey(index, window, size)),
    ]
    anchors, remarks = [], []
    for disc in discs:
        own = places[disc.label]
        elsewhere = _is_elsewhere(planes, disc, own, index)
        lines = planes.outline(disc.label, own.slice if elsewhere else index, window)
        lines = [line + np.array([x, y]) for line in lines]
        items += outline(lines, disc.severity, measures.line, elsewhere=elsewhere)
        anchors.append(_anchor(lines, window, own, (x, y)))
        remarks.append(_remark(disc, own if elsewhere else None))
    items += _labels(discs, anchors, remarks, (room[0], measures.strip, room[1]), measures, palette)
    items += _marks(x, width, measures, palette)
    items += _scale(x, measures.strip + room[1], window, planes, measures, palette)
    return Figure(
        items,
        room[0] + measures.panel,
        room[1] + 2 * measures.strip,
        index,
        any("slice" in remark for remark in remarks),
        any(is_unsure(disc) for disc in discs),
    )


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move ascending positions as little as possible so that neighbours lie at least ``gap`` apart.

    Args:
        wanted: Ascending positions.
        gap: Smallest distance between neighbours.
        low: Smallest position allowed.
        high: Largest position allowed; at least ``low + gap * (len(wanted) - 1)``.

    Returns:
        Positions in the same order (least squares, by pooling adjacent violators).
    """
    blocks: list[tuple[float, int]] = []
    for index, position in enumerate(wanted):
        total, count = position - index * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before = blocks.pop()
            total, count = total + before[0], count + before[1]
        blocks.append((total, count))
    level = [total / count for total, count in blocks for _ in range(count)]
    top = high - gap * (len(wanted) - 1)
    return [min(max(value, low), top) + index * gap for index, value in enumerate(level)]


def _window(planes: Planes, places: dict[int, DiscPlace], image: tuple[float, float]) -> Window:
    """The discs and some centimetres around them, as large as fits, with the proportions that they have in mm."""
    seen = planes.labels.any(axis=0)
    rows = [*np.flatnonzero(seen.any(axis=1)), *(round(place.row) for place in places.values())]
    columns = [*np.flatnonzero(seen.any(axis=0)), *(round(place.column) for place in places.values())]
    _, row_mm, column_mm = planes.spacing
    _, height, width = planes.labels.shape
    down, across = round(_MARGIN_MM / row_mm), round(_MARGIN_MM / column_mm)
    top, bottom = max(0, min(rows) - down), min(height, max(rows) + 1 + down)
    left, right = max(0, min(columns) - across), min(width, max(columns) + 1 + across)
    scale = min(image[0] / ((right - left) * column_mm), image[1] / ((bottom - top) * row_mm))
    return Window(int(top), int(left), int(bottom), int(right), scale * row_mm, scale * column_mm)


def _is_elsewhere(planes: Planes, disc: Disc, own: DiscPlace, index: int) -> bool:
    here, there = (np.count_nonzero(planes.labels[one] == disc.label) for one in (index, own.slice))
    return here < _SEEN_HERE * there


def _anchor(lines: list[Points], window: Window, place: DiscPlace, corner: tuple[float, float]) -> tuple[float, float]:
    """Where a label's line begins: the back end of the outline, or the place of a disc that has none."""
    if not lines:
        x, y = window.place(place.row, place.column)
        return x + corner[0], y + corner[1]
    points = np.concatenate(lines)
    x, y = points[points[:, 0].argmax()]
    return float(x), float(y)


def _remark(disc: Disc, borrowed: DiscPlace | None) -> str:
    remarks = ["level unknown"] if disc.level == UNKNOWN else []
    if borrowed is not None:
        remarks.append(f"slice {borrowed.slice + 1}")
    return ", ".join(remarks)


def _labels(
    discs: list[Disc],
    anchors: list[tuple[float, float]],
    remarks: list[str],
    room: tuple[float, float, float],
    measures: Measures,
    palette: Palette,
) -> list[Stroke | Box | Words]:
    """One label a disc into the panel, joined to its disc by a line; no two lines cross."""
    edge, top, height = room
    unit = measures.line
    gap = min(measures.gap, height / len(discs))
    order = sorted(range(len(discs)), key=lambda index: anchors[index][1])
    wanted = [anchors[index][1] for index in order]
    levels = spread(wanted, 2 * unit, top + unit, top + height - unit)
    places = spread(wanted, gap, top + gap / 2, top + height - gap / 2)
    big, small = 0.36 * gap, 0.27 * gap
    left = edge + 22 * unit
    room_left = edge + measures.panel - left - 3 * unit
    # One size for all, so that no grade looks weightier than another.
    grades = min(fitted(Words(0, 0, grade_text(disc), small, palette.ink), room_left).size for disc in discs)
    items: list[Stroke | Box | Words] = []
    for index, level, y in zip(order, levels, places, strict=True):
        disc, (x, anchor) = discs[index], anchors[index]
        colour = COLOURS[disc.severity]
        bends = [(x + unit, anchor), (x + 4 * unit, level), (edge + 2 * unit, level), (left - 6 * unit, y)]
        bends = [*bends, (left - 3 * unit, y)]
        items.append(Stroke(np.array(bends), palette.leader or colour, 0.8 * unit))
        items.append(Box((left - 3 * unit, y - 0.40 * gap, left - unit, y + 0.40 * gap), colour))
        name = f"{name_of(disc)} ?" if is_unsure(disc) else name_of(disc)
        title = Words(left + unit, y - 0.06 * gap, name, big, palette.ink, bold=True)
        items.append(title)
        if remark := remarks[index]:
            beside = title.width + 0.5 * big
            said = Words(title.x + beside, title.y, remark, small, palette.muted)
            items.append(fitted(said, room_left - beside))
        items.append(Words(left + unit, y + 0.30 * gap, grade_text(disc), grades, palette.ink))
    return items


def _marks(x: float, width: float, measures: Measures, palette: Palette) -> list[Words]:
    """Which way is front, head and back, above the slice."""
    size, y = 0.62 * measures.strip, 0.74 * measures.strip
    apart = max(width, 6 * size)
    x, width = x - (apart - width) / 2, apart
    return [
        Words(x + size / 2, y, "A", size, palette.ink, bold=True),
        Words(x + width / 2, y, "H", size, palette.ink, bold=True, align="middle"),
        Words(x + width - size / 2, y, "P", size, palette.ink, bold=True, align="end"),
    ]


def _scale(
    x: float, y: float, window: Window, planes: Planes, measures: Measures, palette: Palette
) -> list[Box | Words]:
    """A bar of so many mm below the slice."""
    a_mm = window.column_scale / planes.spacing[2]
    length = next((mm for mm in _BAR_MM if mm * a_mm <= 0.4 * window.size[0]), _BAR_MM[-1])
    size = 0.55 * measures.strip
    x, middle = x + size / 2, y + 0.5 * measures.strip
    return [
        Box((x, middle - 0.6 * measures.line, x + length * a_mm, middle + 0.6 * measures.line), palette.ink),
        Words(x + length * a_mm + size / 2, middle + 0.36 * size, f"{length} mm", size, palette.ink),
    ]
