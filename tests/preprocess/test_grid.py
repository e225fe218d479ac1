from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from discgrade.errors import NoSagittalSeries
from preprocess.grid import GRID_MULTIPLE, GRID_SPACING_MM, canonical_axes, to_grid, to_source
from preprocess.volume import Volume

SAGITTAL = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
"""Columns: where slices, rows and columns of an upright sagittal stack point in LPS."""


def sagittal(array: NDArray[np.float32], spacing: tuple[float, float, float], turn: float = 0.0) -> Volume:
    """A stack, turned about the left–right axis by ``turn`` radians."""
    c, s = np.cos(turn), np.sin(turn)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ SAGITTAL @ np.diag(spacing)
    affine[:3, 3] = (-20.0, -130.0, 200.0)
    return Volume(array, affine)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> NDArray[np.float32]:
    """A bright ball on dim tissue; centre and radius in the units of the last two axes' pixels."""
    s, r, c = np.indices(shape)
    distance = np.sqrt((r - centre[1]) ** 2 + (c - centre[2]) ** 2)
    return np.where((np.abs(s - centre[0]) < 1.5) & (distance < radius), 900.0, 300.0).astype(np.float32)


def reordered(volume: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same image stored in another axis order."""
    array = volume.array.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3][:, axes]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(np.ascontiguousarray(array), affine)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)))
def test_any_storage_order_gives_the_same_grid(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    volume = sagittal(ball((5, 60, 50), (2, 25, 20), 9), (4.0, 0.7, 0.6), turn=0.1)
    expected = to_grid(volume)
    grid = to_grid(reordered(volume, axes, flips))
    np.testing.assert_array_equal(grid.pixels, expected.pixels)
    np.testing.assert_allclose(grid.affine, expected.affine, atol=1e-9)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (True, True, True)])
def test_a_segmentation_comes_back_in_the_order_of_the_source(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    plain = sagittal(ball((5, 60, 50), (2, 25, 20), 9), (4.0, 0.7, 0.6))
    volume = reordered(plain, axes, flips)
    grid = to_grid(volume)
    inside = grid.pixels > 140
    labels = to_source(grid, inside.astype(np.uint8), np.where(inside, 255, 0).astype(np.uint8))
    assert labels.shape == volume.array.shape
    truth = volume.array > 600
    overlap = 2 * (truth & (labels == 1)).sum() / (truth.sum() + (labels == 1).sum())
    assert overlap > 0.97


@settings(max_examples=40, deadline=None)
@given(
    spacing=st.tuples(st.floats(1.0, 6.0), st.floats(0.3, 1.4), st.floats(0.3, 1.4)),
    rows=st.integers(20, 90),
    columns=st.integers(20, 90),
    turn=st.floats(-0.5, 0.5),
    data=st.data(),
)
def test_grid_indices_and_source_indices_name_the_same_place(
    spacing: tuple[float, float, float], rows: int, columns: int, turn: float, data: st.DataObject
) -> None:
    """An intensity ramp along rows and columns reads, at any grid pixel, the source position that the affine says."""
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    for ramp, axis in ((r, 1), (c, 2)):
        volume = sagittal(np.stack([ramp + 50.0] * 2).astype(np.float32), spacing, turn)
        grid = to_grid(volume)
        to_index = np.linalg.inv(volume.affine) @ grid.affine
        top, bottom, left, right = grid.field_of_view
        margin = 4  # smoothing of a fine source bends the ramp at the border
        if bottom - top <= 2 * margin + 1 or right - left <= 2 * margin + 1:
            continue
        row = data.draw(st.integers(top + margin, bottom - margin - 1))
        column = data.draw(st.integers(left + margin, right - margin - 1))
        position = (to_index @ np.array([1, row, column, 1.0]))[axis]
        value = float(grid.pixels[1, row, column])
        per_level = 85.0 / _reference(volume)
        if value < 255:
            assert abs(value - (position + 50.0) * per_level) < 0.51 + 0.01 * per_level


def _reference(volume: Volume) -> float:
    from preprocess.intensity import intensity_scale

    return intensity_scale(volume.array)[1]


@given(rows=st.integers(10, 700), columns=st.integers(10, 700), spacing=st.floats(0.3, 1.5))
@settings(max_examples=25, deadline=None)
def test_the_grid_covers_the_source_and_fits_the_network(rows: int, columns: int, spacing: float) -> None:
    grid = to_grid(sagittal(np.ones((1, rows, columns), dtype=np.float32), (4.0, spacing, spacing)))
    top, bottom, left, right = grid.field_of_view
    assert grid.pixels.shape[1] % GRID_MULTIPLE == 0
    assert grid.pixels.shape[2] % GRID_MULTIPLE == 0
    assert abs((bottom - top) * GRID_SPACING_MM - rows * spacing) <= GRID_SPACING_MM
    assert abs((right - left) * GRID_SPACING_MM - columns * spacing) <= GRID_SPACING_MM
    assert not grid.pixels[:, :top].any()
    assert not grid.pixels[:, bottom:].any()
    assert grid.pixels[:, top:bottom, left:right].all()


def test_an_axial_stack_is_refused() -> None:
    axial = np.diag([0.7, 0.7, 5.0, 1.0])
    with pytest.raises(NoSagittalSeries, match="axial or coronal"):
        to_grid(Volume(np.ones((300, 300, 30), dtype=np.float32), axial))


def test_an_isotropic_volume_stored_axially_is_read_sagittally() -> None:
    axes, _ = canonical_axes(np.diag([1.0, 1.0, 1.0, 1.0]))
    assert axes == (0, 2, 1)
    assert to_grid(Volume(np.ones((20, 40, 60), dtype=np.float32), np.eye(4))).pixels.shape[0] == 20
