"""Severities are told apart by people who see colours otherwise, and on paper without colours."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from discgrade.result import Severity
from gateway.pictures.look import COLOURS, DARK, PAPER, Palette, outline
from gateway.pictures.scene import Colour, dashed

# Machado, Oliveira and Fernandes, IEEE TVCG 15(6):1291, 2009: complete loss of one kind of cones, on linear RGB.
VISION = {
    "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# CIE 1976 L*a*b* of linear sRGB under D65.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(axis=1)


def linear(colour: Colour) -> NDArray[np.float64]:
    share = np.array(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(colour: Colour, vision: str) -> NDArray[np.float64]:
    seen = np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1)
    x, y, z = np.cbrt(np.maximum(XYZ @ seen / WHITE, 0.0089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: Colour, other: Colour) -> float:
    """WCAG 2.2, contrast ratio."""
    low, high = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart(vision: str) -> None:
    for one, other in combinations(COLOURS.values(), 2):
        assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > 30


@pytest.mark.parametrize("palette", [DARK, PAPER], ids=["dark", "paper"])
def test_words_are_seen_on_their_ground(palette: Palette) -> None:
    assert contrast(palette.ground, palette.ink) > 7
    assert contrast(palette.ground, palette.muted) > 4.5


@pytest.mark.parametrize("severity", Severity)
def test_lines_are_seen_on_dark_ground(severity: Severity) -> None:
    assert contrast(COLOURS[severity], DARK.ground) > 4.5


def test_each_severity_has_dashes_of_its_own() -> None:
    line = np.array([[0.0, 0.0], [100.0, 0.0]])
    lengths = {}
    for severity in Severity:
        strokes = outline([line], severity, 2.0)
        lengths[severity] = float(np.mean([np.ptp(stroke.points[:, 0]) for stroke in strokes]))
    assert lengths[Severity.MILD] == 100
    assert 5 < lengths[Severity.MODERATE] < 15
    assert lengths[Severity.SEVERE] < 1


def test_dashes_follow_corners_and_fill_the_line() -> None:
    square = np.array([[0.0, 0.0], [10, 0], [10, 10], [0, 10], [0, 0]])
    pieces = dashed(square, 3.0, 2.0)
    assert len(pieces) == 8
    drawn = sum(float(np.linalg.norm(np.diff(piece, axis=0), axis=1).sum()) for piece in pieces)
    assert drawn == pytest.approx(40 * 3 / 5)
    assert all(np.isin(piece, (0, 10)).any(axis=1).all() for piece in pieces)
