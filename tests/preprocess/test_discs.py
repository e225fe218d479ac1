"""Discs of phantoms whose truth is known: the tissue labels stand in for a perfect segmenter."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import preprocess
from discgrade.errors import NoDiscsFound
from preprocess.crops import CROP_SHAPE, FEATURE_NAMES
from preprocess.discs import DiscCrops, find_and_crop
from preprocess.grid import Grid, to_grid, to_source
from preprocess.instances import CANAL, DISC, VERTEBRA, find_instances
from preprocess.levels import WARNING_MESSAGES
from preprocess.measure import measure_discs
from preprocess.volume import Volume
from training.phantom import Phantom, PhantomSpec, make_phantom


def on_grid(phantom: Phantom) -> tuple[Grid, NDArray[np.uint8]]:
    """The phantom's slices and its true labels on the network grid."""
    grid = to_grid(phantom.volume)
    to_voxel = np.linalg.inv(phantom.volume.affine) @ grid.affine
    s, r, c = np.meshgrid(*(np.arange(n) for n in grid.pixels.shape), indexing="ij")
    index = np.rint(np.einsum("ij,j...->i...", to_voxel, np.stack([s, r, c, np.ones_like(s)])))[:3].astype(int)
    shape = np.array(phantom.labels.shape).reshape(3, 1, 1, 1)
    inside = ((index >= 0) & (index < shape)).all(0)
    labels = np.where(inside, phantom.labels[tuple(np.clip(index, 0, shape - 1))], 0)
    return grid, labels.astype(np.uint8)


SPECS = {
    "plain": PhantomSpec(seed=1, slices=9),
    "worn": PhantomSpec(seed=2, slices=9, grades=(5, 5, 4, 4, 3, 3)),
    "scoliosis": PhantomSpec(seed=3, slices=15, scoliosis_mm=12.0),
    "tilted": PhantomSpec(seed=4, slices=9, tilt_deg=(8.0, 3.0, 4.0)),
    "left first": PhantomSpec(seed=5, slices=9, left_first=True),
    "one slice": PhantomSpec(seed=6, slices=1),
    "graded": PhantomSpec(seed=8, slices=5, grades=(5, 4, 3, 2, 1, 1)),
}


def plain() -> tuple[Grid, NDArray[np.uint8]]:
    """The plain study with labels of its own, to be changed at will."""
    _, grid, labels = study("plain")
    return grid, labels.copy()


@cache
def study(name: str) -> tuple[Phantom, Grid, NDArray[np.uint8]]:
    phantom = make_phantom(SPECS[name])
    return (phantom, *on_grid(phantom))


@cache
def found_in(name: str) -> tuple[Phantom, Grid, NDArray[np.uint8], DiscCrops]:
    phantom, grid, labels = study(name)
    probability = np.where(labels == DISC, 240, 10).astype(np.uint8)
    return (
        phantom,
        grid,
        labels,
        find_and_crop(grid.pixels, grid.field_of_view, grid.slice_spacing_mm, labels, probability),
    )


@pytest.mark.parametrize("name", SPECS)
def test_every_whole_disc_is_found_and_named(name: str) -> None:
    phantom, grid, _, found = found_in(name)
    assert found.levels[:5] == ("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2")
    assert len(phantom.levels) - 1 <= len(found.levels) <= len(phantom.levels)  # the border may cut the uppermost
    assert found.levels == phantom.levels[: len(found.levels)]
    assert (found.level_confidence > 0.8).all()
    assert found.warnings == (("single_slice",) if len(grid.pixels) == 1 else ())


@pytest.mark.parametrize("name", SPECS)
def test_each_instance_is_its_own_disc(name: str) -> None:
    phantom, grid, _, found = found_in(name)
    probability = np.where(found.instances > 0, 255, 0).astype(np.uint8)
    back = to_source(grid, found.instances, probability)
    for label in range(1, len(found.levels) + 1):
        own, true = back == label, phantom.instances == label
        assert 2 * (own & true).sum() / (own.sum() + true.sum()) > 0.85, phantom.levels[label - 1]


def test_boxes_enclose_their_discs_exactly() -> None:
    _, _, _, found = found_in("scoliosis")
    for label, box in enumerate(found.boxes, start=1):
        voxels = np.argwhere(found.instances == label)
        np.testing.assert_array_equal(box[:3], voxels.min(0))
        np.testing.assert_array_equal(box[3:], voxels.max(0) + 1)
        assert box[0] <= found.middle_slices[label - 1] < box[3]


def test_measures_agree_with_the_true_masks() -> None:
    phantom, grid, _, found = found_in("plain")
    voxel = float(np.prod(phantom.volume.spacing))
    for measured in measure_discs(grid, found.instances, found.middle_slices):
        where = np.argwhere(phantom.instances == measured.label)
        centre = phantom.volume.affine @ np.append(where.mean(0), 1.0)
        np.testing.assert_allclose(measured.centroid_mm_lps, centre[:3], atol=1.0)
        assert measured.volume_mm3 == pytest.approx(len(where) * voxel, rel=0.1)
        assert 3.0 < measured.height_mm < 16.0
        assert measured.area_mm2 == pytest.approx(measured.height_mm * 36.0, rel=0.5)


def test_a_single_slice_has_no_volume() -> None:
    _, grid, _, found = found_in("one slice")
    assert all(m.volume_mm3 is None for m in measure_discs(grid, found.instances, found.middle_slices))


def test_crops_lie_along_the_disc() -> None:
    _, _, _, found = found_in("tilted")
    assert found.crops.shape == (len(found.levels), *CROP_SHAPE)
    assert found.features.shape == (len(found.levels), len(FEATURE_NAMES))
    assert np.isfinite(found.crops).all()
    assert np.isfinite(found.features).all()
    for crop in found.crops:
        rows, columns = np.nonzero(crop[1, 1] > 0.5)
        assert abs(rows.mean() - 27.5) < 2.0
        assert abs(columns.mean() - 47.5) < 2.0
        slope = np.polyfit(columns, rows, 1)[0]
        assert abs(slope) < 0.12  # along the crop's columns, however the disc itself lies


def test_darker_discs_have_lower_signal_features() -> None:
    _, _, _, found = found_in("graded")
    signal = found.features[:5, FEATURE_NAMES.index("log_signal_to_csf")]
    assert signal[4] > signal[2] > signal[0]


def cut_below(labels: NDArray[np.uint8], grid: Grid, row: int) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """What is left of the image when it ends at a row."""
    top, _, left, right = grid.field_of_view
    below = labels.copy()
    below[:, row:] = 0
    return below, (top, row, left, right)


def test_a_cut_field_of_view_gives_no_names() -> None:
    grid, labels = plain()
    whole = find_instances(labels, grid.slice_spacing_mm, grid.field_of_view)
    l4l5 = np.argwhere(whole.instances == 2)[:, 1]
    for row in (int(l4l5.max()) + 12, int(l4l5.max()) + 40):  # in L5, and just above its lower endplate
        cut, field_of_view = cut_below(labels, grid, row)
        found = find_and_crop(grid.pixels, field_of_view, grid.slice_spacing_mm, cut, np.zeros_like(cut))
        assert set(found.levels) == {"unknown"}
        assert (found.level_confidence == 0).all()
        assert "field_of_view_cut" in found.warnings


def test_few_discs_are_said_to_be_few() -> None:
    grid, labels = plain()
    whole = find_instances(labels, grid.slice_spacing_mm, grid.field_of_view)
    top = int(np.argwhere(whole.instances == 4)[:, 1].min()) - 4
    labels[:, :top] = 0
    field_of_view = (top, *grid.field_of_view[1:])
    found = find_and_crop(grid.pixels, field_of_view, grid.slice_spacing_mm, labels, np.zeros_like(labels))
    assert found.levels == ("L5/S1", "L4/L5", "L3/L4", "L2/L3")
    assert "incomplete_lumbar_spine" in found.warnings


def test_a_missed_disc_leaves_a_gap_in_the_names() -> None:
    grid, labels = plain()
    whole = find_instances(labels, grid.slice_spacing_mm, grid.field_of_view)
    labels[whole.instances == 3] = VERTEBRA
    found = find_and_crop(grid.pixels, grid.field_of_view, grid.slice_spacing_mm, labels, np.zeros_like(labels))
    assert found.levels[:4] == ("L5/S1", "L4/L5", "L2/L3", "L1/L2")
    assert "disc_missing" in found.warnings
    assert found.level_confidence[2] < found.level_confidence[1] * 0.7


def test_a_missed_lowest_disc_is_not_named_over() -> None:
    grid, labels = plain()
    whole = find_instances(labels, grid.slice_spacing_mm, grid.field_of_view)
    labels[whole.instances == 1] = 0
    found = find_and_crop(grid.pixels, grid.field_of_view, grid.slice_spacing_mm, labels, np.zeros_like(labels))
    assert {"level_naming_uncertain", "field_of_view_cut"} & set(found.warnings)
    assert (found.level_confidence <= 0.5).all()


def test_touching_discs_are_parted() -> None:
    """A bridge of wrongly labelled pixels through a vertebra joins two discs into one region."""
    grid, labels = plain()
    whole = find_instances(labels, grid.slice_spacing_mm, grid.field_of_view)
    middle = int(whole.middle_slice)
    centres = [np.argwhere(whole.instances[middle] == label).mean(0) for label in (3, 4)]
    joined = labels.copy()
    for along in np.linspace(0, 1, 200):
        row, column = (centres[0] * (1 - along) + centres[1] * along).astype(int)
        joined[:, row - 2 : row + 3, column - 6 : column + 7] = DISC
    found = find_instances(joined, grid.slice_spacing_mm, grid.field_of_view)
    assert len(found.boxes) == len(whole.boxes)
    for label in range(1, len(whole.boxes) + 1):
        own, true = found.instances == label, whole.instances == label
        assert 2 * (own & true).sum() / (own.sum() + true.sum()) > 0.7


def test_a_remnant_below_the_sacrum_is_no_disc() -> None:
    """S1/S2 has no vertebra beside it: the sacrum is not labelled."""
    grid, labels = plain()
    whole = find_instances(labels, grid.slice_spacing_mm, grid.field_of_view)
    lowest = np.argwhere(whole.instances == 1)
    row, column = int(lowest[:, 1].max()) + 50, int(lowest[:, 2].mean()) + 40
    labels[:, row : row + 10, column : column + 40] = DISC
    assert len(find_instances(labels, grid.slice_spacing_mm, grid.field_of_view).boxes) == len(whole.boxes)


@pytest.mark.parametrize("content", ["nothing", "canal only", "two discs"])
def test_what_is_no_spine_is_refused(content: str) -> None:
    labels = np.zeros((3, 256, 256), dtype=np.uint8)
    if content == "canal only":
        labels[:, 20:200, 100:120] = CANAL
    if content == "two discs":
        labels[:, 40:200, 60:130] = VERTEBRA
        labels[:, 60:76, 60:130] = DISC
        labels[:, 120:136, 60:130] = DISC
    with pytest.raises(NoDiscsFound):
        find_instances(labels, 4.0, (0, 256, 0, 256))


def test_every_warning_code_is_explained() -> None:
    sources = "".join(path.read_text() for path in Path(preprocess.__path__[0]).glob("*.py"))
    assert all(sources.count(f'"{code}"') >= 2 for code in WARNING_MESSAGES)


def test_an_image_without_any_signal_still_gives_finite_crops() -> None:
    grid, labels = plain()
    black = to_grid(Volume(np.zeros_like(grid.source.array), grid.source.affine))
    found = find_and_crop(black.pixels, grid.field_of_view, 4.0, labels, np.zeros_like(labels))
    assert np.isfinite(found.crops).all()
    assert np.isfinite(found.features).all()
