"""Colours, lines and words that stand for grades, the same in every picture.

The colours are the sky blue, yellow and vermilion of Okabe and Ito's palette (Color Universal Design, 2008), told
apart under every common colour vision deficiency. The outline says the same by its dashes, and a label in words, so
that nothing is said by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from discgrade._figures import whole
from discgrade.result import Disc, Severity
from gateway.pictures.scene import Colour, Points, Stroke, Words, dashed
from preprocess.levels import UNKNOWN

__all__ = [
    "COLOURS",
    "DARK",
    "MEANINGS",
    "PAPER",
    "Palette",
    "fitted",
    "grade_text",
    "is_unsure",
    "name_of",
    "outline",
    "sample",
]

COLOURS: dict[Severity, Colour] = {
    Severity.MILD: (0x56, 0xB4, 0xE9),
    Severity.MODERATE: (0xF0, 0xE4, 0x42),
    Severity.SEVERE: (0xD5, 0x5E, 0x00),
}
MEANINGS = {
    Severity.MILD: "mild (Pfirrmann I, II)",
    Severity.MODERATE: "moderate (III)",
    Severity.SEVERE: "severe (IV, V)",
}
_DASHES = {Severity.MILD: (1.0, 0.0), Severity.MODERATE: (5.0, 3.0), Severity.SEVERE: (0.4, 2.2)}  # in line widths
_DOT = 1.4
_THIN = 0.5
_SURE = 0.5


@dataclass(frozen=True)
class Palette:
    """Colours of a ground and of what is written on it.

    Attributes:
        ground: Behind everything.
        ink: Words.
        muted: Words of less weight.
        leader: Lines from discs to their labels; None for the colour of the grade.
    """

    ground: Colour
    ink: Colour
    muted: Colour
    leader: Colour | None


DARK = Palette((18, 18, 20), (245, 245, 245), (165, 165, 170), None)
PAPER = Palette((255, 255, 255), (20, 20, 20), (85, 85, 90), (110, 110, 115))
"""Yellow lines would be lost on it."""


def outline(lines: list[Points], severity: Severity, width: float, *, elsewhere: bool = False) -> list[Stroke]:
    """Draw closed lines in the style of a grade; thinner where the disc is really seen on another slice."""
    width = width * _THIN if elsewhere else width
    on, off = (width * share for share in _DASHES[severity])
    if severity is Severity.SEVERE:
        width *= _DOT
    return [
        Stroke(piece, COLOURS[severity], width, edge=0.3 * width) for line in lines for piece in dashed(line, on, off)
    ]


def sample(x: float, y: float, length: float, severity: Severity, width: float) -> list[Stroke]:
    """A piece of outline for a legend."""
    return outline([np.array([[x, y], [x + length, y]])], severity, width)


def name_of(disc: Disc) -> str:
    """Its level, or its number where the level is unknown."""
    return f"Disc {disc.label}" if disc.level == UNKNOWN else disc.level


def is_unsure(disc: Disc) -> bool:
    """Whether its level is a guess."""
    return disc.level != UNKNOWN and disc.level_confidence < _SURE


def grade_text(disc: Disc) -> str:
    """Its grades in words."""
    share = whole(100 * disc.severity_probabilities[disc.severity])
    return f"Pfirrmann {disc.pfirrmann.value} · {disc.severity.value} {share} %"


def fitted(words: Words, width: float) -> Words:
    """The same words, smaller where they would be longer than ``width``."""
    left, _, right, _ = words.box
    needed = right - left
    return words if needed <= width else replace(words, size=words.size * width / needed)
