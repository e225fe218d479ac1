from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from discgrade.result import Disc, Pfirrmann, Severity
from gateway.overlay import draw_overlay, spread
from preprocess.grid import to_grid
from tests.support.truth import truth_tensors
from training.phantom import Phantom, PhantomSpec, make_phantom

BLUE, YELLOW, ORANGE = (0x56, 0xB4, 0xE9), (0xF0, 0xE4, 0x42), (0xF2, 0x6B, 0x1D)


@given(
    wanted=st.lists(st.floats(0, 1000), min_size=1, max_size=20).map(sorted),
    gap=st.floats(0, 50),
)
def test_spread_keeps_order_gaps_and_bounds(wanted: list[float], gap: float) -> None:
    places = spread(wanted, gap, 0, 1000)
    assert len(places) == len(wanted)
    assert all(after - before >= gap - 1e-6 for before, after in pairwise(places))
    assert places[0] >= -1e-6
    assert places[-1] <= 1000 + 1e-6


@given(st.lists(st.integers(0, 19), min_size=1, max_size=20, unique=True).map(sorted))
def test_spread_leaves_what_has_room(wanted: list[int]) -> None:
    assert spread([50.0 * v for v in wanted], 50.0, 0, 950) == pytest.approx([50.0 * v for v in wanted])


def test_spread_shares_the_shift() -> None:
    assert spread([100.0, 100.0, 100.0], 10.0, 0, 1000) == pytest.approx([90.0, 100.0, 110.0])


def draw(phantom: Phantom, severity: Severity = Severity.MILD) -> Image.Image:
    grid = to_grid(phantom.volume)
    tensors = truth_tensors(phantom, grid)
    discs = [
        Disc(
            level=level,
            level_confidence=0.9,
            severity=severity,
            severity_probabilities=dict.fromkeys(Severity, 0.3),
            pfirrmann=Pfirrmann.II,
            pfirrmann_probabilities=dict.fromkeys(Pfirrmann, 0.2),
            label=label,
            centroid_mm_lps=(0, 0, 0),
            area_mm2=1,
            height_mm=1,
        )
        for label, level in enumerate(phantom.levels, start=1)
    ][::-1]
    png = draw_overlay(grid, tensors.instances, tensors.disc_probability, tensors.middle_slices, discs)
    return Image.open(io.BytesIO(png))


def share(picture: Image.Image, colour: tuple[int, int, int]) -> float:
    near = np.abs(np.asarray(picture, dtype=int) - colour).max(axis=-1) < 12
    return float(near[: picture.height - 120].mean())  # without the legend


@pytest.mark.parametrize(
    ("severity", "colour"), [(Severity.MILD, BLUE), (Severity.MODERATE, YELLOW), (Severity.SEVERE, ORANGE)]
)
def test_discs_wear_the_colour_of_their_severity(
    phantom: Phantom, severity: Severity, colour: tuple[int, int, int]
) -> None:
    picture = draw(phantom, severity)
    assert share(picture, colour) > 0.005
    assert all(share(picture, other) < 0.001 for other in {BLUE, YELLOW, ORANGE} - {colour})


@pytest.mark.parametrize(
    "spec",
    [
        PhantomSpec(slices=1, pixel_mm=1.5, matrix=(160, 120)),
        PhantomSpec(slices=3, pixel_mm=0.4, matrix=(640, 512)),
        PhantomSpec(slices=3, pixel_mm=0.9, matrix=(512, 200), shift_mm=(0, 80)),
        PhantomSpec(slices=15, pixel_mm=1.0, matrix=(256, 256), scoliosis_mm=15),
    ],
    ids=["coarse", "fine", "tall", "scoliosis"],
)
def test_the_picture_is_of_one_size_class_whatever_the_input(spec: PhantomSpec) -> None:
    picture = draw(make_phantom(spec))
    assert picture.mode == "RGB"
    assert 900 <= picture.width <= 1480
    assert 700 <= picture.height <= 1200
    assert share(picture, BLUE) > 0.003


def test_outlines_lie_on_the_edges_of_the_discs(phantom: Phantom) -> None:
    """Pixels of outline colour are near the border of a disc's mask, on both of its sides."""
    grid = to_grid(phantom.volume)
    shown = int(np.median(truth_tensors(phantom, grid).middle_slices))
    picture = np.asarray(draw(phantom), dtype=int)
    image_height = len(picture) - 116
    blue = np.abs(picture[:image_height] - BLUE).max(axis=-1) < 12
    members = truth_tensors(phantom, grid).instances[shown] > 0
    rows, columns = np.nonzero(members)
    # The view is cut 45 mm (90 grid pixels) around all discs, or where the image ends.
    every = truth_tensors(phantom, grid).instances.any(axis=0)
    top = max(grid.field_of_view[0], np.nonzero(every.any(axis=1))[0][0] - 90)
    bottom = min(grid.field_of_view[1], np.nonzero(every.any(axis=1))[0][-1] + 91)
    left = max(grid.field_of_view[2], np.nonzero(every.any(axis=0))[0][0] - 90)
    scale = image_height / (bottom - top)
    corners = [
        ((rows.min() - top) * scale, (columns[rows.argmin()] - left) * scale),
        ((rows.max() + 1 - top) * scale, (columns[rows.argmax()] - left) * scale),
    ]
    for y, x in corners:
        window = blue[max(0, round(y) - 12) : round(y) + 12, max(0, round(x) - 12) : round(x) + 12]
        assert window.any()
