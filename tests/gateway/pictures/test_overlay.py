from __future__ import annotations

import io
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from discgrade.result import GradingResult, Severity
from gateway.made import make_all
from gateway.pictures.figure import spread
from gateway.pictures.overlay import HEADER_HEIGHT, PANEL_WIDTH, draw_overlay, footer_height
from gateway.pictures.paint_png import paint
from gateway.pictures.planes import Planes, read_planes
from gateway.pictures.scene import Raster, Scene, Stroke, Words
from tests.support.pictured import Layout, along, crosses, kept_of, layouts, overlap, pictured
from training.phantom import Phantom, PhantomSpec, make_phantom

BLUE, YELLOW, VERMILION = (0x56, 0xB4, 0xE9), (0xF0, 0xE4, 0x42), (0xD5, 0x5E, 0x00)


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


def leaders(scene: Scene) -> list[Stroke]:
    """The lines from discs to labels: five points, and no edge."""
    return [item for item in scene.items if isinstance(item, Stroke) and not item.edge]


@settings(max_examples=30, deadline=None)
@given(layouts())
def test_no_words_run_into_anything_however_the_discs_lie(layout: Layout) -> None:
    planes, result = pictured(layout)
    scene = draw_overlay(planes, result)
    words = scene.words
    for word in words:
        left, top, right, bottom = word.box
        assert left >= 0
        assert top >= 0
        assert right <= scene.width
        assert bottom <= scene.height
        assert word.size >= 9
    for one, other in combinations(words, 2):
        assert not overlap(one.box, other.box), (one.text, other.text)
    (raster,) = [item for item in scene.items if isinstance(item, Raster)]
    assert not any(overlap(word.box, raster.box) for word in words)
    lines = leaders(scene)
    assert len(lines) == len(result.discs)
    drawn = np.concatenate([along(line.points) for line in lines])
    assert [word.text for word in words if crosses(drawn, word.box)] == []
    # In the panel, where the discs themselves do not lie in the way, lines keep their order.
    ends = sorted((line.points[2, 1], line.points[-1, 1]) for line in lines)
    assert [last for _, last in ends] == sorted(last for _, last in ends)


@settings(max_examples=10, deadline=None)
@given(layouts())
def test_every_disc_is_named_and_graded_once(layout: Layout) -> None:
    planes, result = pictured(layout)
    said = [word.text for word in draw_overlay(planes, result).words]
    for disc in result.discs:
        name = f"Disc {disc.label}" if disc.level == "unknown" else disc.level
        assert sum(text in (name, f"{name} ?") for text in said) == 1
    grades = [text for text in said if text.startswith("Pfirrmann")]
    assert sorted(text.split()[1] for text in grades) == sorted(disc.pfirrmann.value for disc in result.discs)


@settings(max_examples=10, deadline=None)
@given(layouts())
def test_every_warning_is_said_below_the_image(layout: Layout) -> None:
    planes, result = pictured(layout)
    scene = draw_overlay(planes, result)
    (raster,) = [item for item in scene.items if isinstance(item, Raster)]
    below = " ".join(word.text for word in scene.words if word.y > raster.box[3])
    assert below.count("Warning: ") == len(result.warnings)
    for warning in result.warnings:
        assert f"Warning: {warning.message}" in below


@settings(max_examples=10, deadline=None)
@given(layouts())
def test_a_millimetre_is_as_long_down_as_across(layout: Layout) -> None:
    planes, result = pictured(layout)
    (raster,) = [item for item in draw_overlay(planes, result).items if isinstance(item, Raster)]
    left, top, right, bottom = raster.box
    shown = (bottom - top) / (right - left)
    # The view is cut at whole pixels of the image, 45 mm around the discs or where the image ends.
    rows, columns = np.nonzero(planes.labels.any(axis=0))
    _, row_mm, column_mm = planes.spacing
    height, width = planes.labels.shape[1:]
    down, across = round(45 / row_mm), round(45 / column_mm)
    tall = (min(height, rows.max() + 1 + down) - max(0, rows.min() - down)) * row_mm
    wide = (min(width, columns.max() + 1 + across) - max(0, columns.min() - across)) * column_mm
    assert shown == pytest.approx(tall / wide, rel=0.02)


def draw(phantom: Phantom, severity: Severity = Severity.MILD) -> tuple[Image.Image, Image.Image]:
    """The picture, and what of it is above the scale and the legend."""
    planes, result = graded(phantom, severity)
    picture = paint(draw_overlay(planes, result))
    return picture, picture.crop((0, 0, picture.width, picture.height - footer_height(result, picture.width)))


def graded(phantom: Phantom, severity: Severity) -> tuple[Planes, GradingResult]:
    kept = kept_of(phantom)
    result = GradingResult.model_validate_json(kept["result.json"])
    discs = [disc.model_copy(update={"severity": severity}) for disc in result.discs]
    planes = read_planes(kept["image.nii.gz"], kept["segmentation.nii.gz"])
    return planes, result.model_copy(update={"discs": discs})


def share(picture: Image.Image, colour: tuple[int, int, int]) -> float:
    near = np.abs(np.asarray(picture, dtype=int) - colour).max(axis=-1) < 12
    return float(near.mean())


@pytest.mark.parametrize(
    ("severity", "colour"), [(Severity.MILD, BLUE), (Severity.MODERATE, YELLOW), (Severity.SEVERE, VERMILION)]
)
def test_discs_wear_the_colour_of_their_severity(
    phantom: Phantom, severity: Severity, colour: tuple[int, int, int]
) -> None:
    _, shown = draw(phantom, severity)
    assert share(shown, colour) > 0.004
    assert all(share(shown, other) < 0.001 for other in {BLUE, YELLOW, VERMILION} - {colour})


def test_severities_differ_by_more_than_colour(phantom: Phantom) -> None:
    """In the legend and around the discs: one line, few dashes, many dots."""

    def pieces(severity: Severity) -> int:
        scene = draw_overlay(*graded(phantom, severity))
        return sum(isinstance(item, Stroke) and item.edge > 0 for item in scene.items)

    counts = [pieces(severity) for severity in Severity]
    assert counts[0] * 3 < counts[1]
    assert counts[1] * 2 < counts[2]


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
    picture, shown = draw(make_phantom(spec))
    assert picture.mode == "RGB"
    assert 900 <= picture.width <= 1480
    assert 560 <= picture.height <= 1280
    assert share(shown, BLUE) > 0.003


def test_outlines_lie_on_the_edges_of_the_discs(phantom: Phantom) -> None:
    """Every point of an outline is within a pixel of a border between a disc and what is not that disc."""
    planes, result = graded(phantom, Severity.MILD)
    scene = draw_overlay(planes, result)
    (raster,) = [item for item in scene.items if isinstance(item, Raster)]
    left, top, _, bottom = raster.box
    shown = planes.labels[int(np.median([planes.place_of(disc).slice for disc in result.discs]))]
    inside = np.pad(shown, 1)
    border = np.zeros(shown.shape, bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        border |= (np.roll(inside, step, axis)[1:-1, 1:-1] != shown) & (shown > 0)
    rows, columns = np.nonzero(planes.labels.any(axis=0))
    _, row_mm, column_mm = planes.spacing
    corner = max(0, rows.min() - round(45 / row_mm)), max(0, columns.min() - round(45 / column_mm))
    last = min(shown.shape[0], rows.max() + 1 + round(45 / row_mm))
    pixel = (bottom - top) / (last - corner[0])
    edge = np.argwhere(border)
    lines = [
        item for item in scene.items if isinstance(item, Stroke) and item.edge and item.points[:, 1].max() < bottom
    ]
    assert len(lines) == len(result.discs)
    for line in lines:
        row = (line.points[:, 1] - top) / pixel + corner[0] - 0.5
        column = (line.points[:, 0] - left) / (pixel * column_mm / row_mm) + corner[1] - 0.5
        distance = np.hypot(row[:, None] - edge[:, 0], column[:, None] - edge[:, 1]).min(axis=1)
        assert distance.max() < 1.2


def test_words_are_as_long_as_they_are_painted() -> None:
    scene = Scene(400, 60, (0, 0, 0))
    word = Words(20, 40, "Pfirrmann III · moderate 80 %", 17.5, (255, 255, 255))
    scene.items.append(word)
    rows, columns = np.nonzero(np.asarray(paint(scene)).max(axis=-1) > 64)
    left, top, right, bottom = word.box
    assert left <= columns.min() <= left + 4
    assert right - 8 <= columns.max() <= right
    assert rows.min() >= top - 1
    assert rows.max() <= bottom + 1


def test_the_picture_is_made_of_what_is_kept(phantom: Phantom) -> None:
    made = make_all(kept_of(phantom))
    picture = Image.open(io.BytesIO(made["overlay.png"]))
    assert picture.info == {}
    result = GradingResult.model_validate_json(kept_of(phantom)["result.json"])
    assert picture.height > HEADER_HEIGHT + footer_height(result, picture.width)
    assert picture.width > PANEL_WIDTH
    assert make_all(kept_of(phantom))["overlay.png"] == made["overlay.png"]
