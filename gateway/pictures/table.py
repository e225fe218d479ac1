"""The result as a table."""

from __future__ import annotations

from collections.abc import Sequence

from discgrade._figures import whole
from discgrade.result import Disc, Pfirrmann, Severity
from gateway.pictures.look import COLOURS, PAPER, fitted, is_unsure, name_of
from gateway.pictures.scene import Box, Scene, Words
from preprocess.levels import UNKNOWN

__all__ = ["draw_table"]

_GROUND = (238, 238, 241)
_COLUMNS = (
    ("Level", 0.135),
    ("Level sure", 0.085),
    ("Pfirrmann", 0.085),
    ("I / II / III / IV / V, %", 0.175),
    ("Severity", 0.1),
    ("mild / mod. / severe, %", 0.165),
    ("Height, mm", 0.09),
    ("Area, mm²", 0.085),
    ("Vol., cm³", 0.08),
)
"""Heads, and widths as shares."""


def draw_table(page: Scene, discs: Sequence[Disc], room: tuple[float, float, float], row: float) -> None:
    """Draw a row a disc.

    Args:
        page: Where to.
        discs: From top to bottom.
        room: Left, top and right.
        row: Height of a row.
    """
    left, top, right = room
    page.items.append(Box((left, top, right, top + row), PAPER.ink))
    _row(page, [head for head, _ in _COLUMNS], room, row, head=True)
    for number, disc in enumerate(discs, start=1):
        y = top + number * row
        if number % 2 == 0:
            page.items.append(Box((left, y, right, y + row), _GROUND))
        page.items.append(Box((left, y + 0.1 * row, left + 3, y + 0.9 * row), COLOURS[disc.severity]))
        _row(page, _cells(disc), (left, y, right), row)


def _cells(disc: Disc) -> list[str]:
    named = disc.level != UNKNOWN
    return [
        f"{name_of(disc)} ?" if is_unsure(disc) else name_of(disc) if named else f"{name_of(disc)}, unknown",
        _percent(disc.level_confidence) if named else "–",
        disc.pfirrmann.value,
        " / ".join(f"{whole(100 * disc.pfirrmann_probabilities[grade])}" for grade in Pfirrmann),
        disc.severity.value,
        " / ".join(f"{whole(100 * disc.severity_probabilities[severity])}" for severity in Severity),
        f"{disc.height_mm:.1f}",
        f"{whole(disc.area_mm2)}",
        "–" if disc.volume_mm3 is None else f"{disc.volume_mm3 / 1000:.1f}",
    ]


def _percent(share: float) -> str:
    return f"{whole(100 * share)} %"


def _row(page: Scene, cells: list[str], room: tuple[float, float, float], row: float, *, head: bool = False) -> None:
    left, y, right = room
    colour = PAPER.ground if head else PAPER.ink
    size = min(6.2 if head else 7.5, 0.62 * row)
    x = left
    for number, (cell, (_, share)) in enumerate(zip(cells, _COLUMNS, strict=True)):
        width = share * (right - left)
        words = Words(x + 6, y + 0.5 * row + 0.36 * size, cell, size, colour, bold=head or number == 0)
        page.items.append(fitted(words, width - 8))
        x += width
