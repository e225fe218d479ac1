"""From a volume in any orientation to the slices the networks take, and exactly back.

The network grid: slices run from the patient's right to left, rows from superior to inferior, columns from anterior
to posterior, in-plane spacing ``GRID_SPACING_MM``. Orientation is made by permuting and flipping axes only, so the
grid stays parallel to the acquired slices; in-plane pixels are interpolated, slices never are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from discgrade.errors import NoSagittalSeries
from preprocess.boxes import label_boxes
from preprocess.intensity import intensity_scale, normalise
from preprocess.volume import Volume

__all__ = ["GRID_MULTIPLE", "GRID_SPACING_MM", "Grid", "canonical_axes", "to_grid", "to_source"]

GRID_SPACING_MM = 0.5
"""In-plane spacing of the network grid in mm."""

GRID_MULTIPLE = 32
"""Grid height and width are padded to a multiple of this, for the network's five halvings."""

_MAX_IN_PLANE_MM = 2.5


@dataclass(frozen=True, eq=False)
class Grid:
    """Slices on the network grid, and how they lie in the source and in the patient.

    Attributes:
        pixels: uint8, shape (N, H, W); padding is 0.
        field_of_view: Row start, row end, column start, column end (half-open) of the real image within H × W.
        slice_spacing_mm: Distance between slice centres; 0 for a single slice.
        affine: float64 (4, 4); grid indices (slice, row, column, 1) to LPS mm.
        source: The volume the grid was made from.
        axes: For each grid axis (slice, row, column) the source axis it runs along.
        flips: For each grid axis whether it runs against the source axis.
    """

    pixels: NDArray[np.uint8]
    field_of_view: tuple[int, int, int, int]
    slice_spacing_mm: float
    affine: NDArray[np.float64]
    source: Volume
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


def canonical_axes(affine: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Find which source axis runs left–right, head–feet and front–back, and which of them run backwards.

    Args:
        affine: float64 (4, 4), source indices to LPS mm.

    Returns:
        (axes, flips) in grid order: slices to patient left, rows to inferior, columns to posterior.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    wanted = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=np.float64)  # left, inferior, posterior in LPS
    cosine = wanted @ directions
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    axes = max(orders, key=lambda order: sum(abs(cosine[g, s]) for g, s in enumerate(order)))
    flips = (bool(cosine[0, axes[0]] < 0), bool(cosine[1, axes[1]] < 0), bool(cosine[2, axes[2]] < 0))
    return axes, flips


def _oriented(
    array: NDArray[np.float32], axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> NDArray[np.float32]:
    turned = array.transpose(axes)
    return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]


def _oriented_affine(volume: Volume, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, 3] = volume.affine[:3, 3]
    for grid_axis, (source_axis, flip) in enumerate(zip(axes, flips, strict=True)):
        step = volume.affine[:3, source_axis]
        affine[:3, grid_axis] = -step if flip else step
        if flip:
            affine[:3, 3] += step * (volume.array.shape[source_axis] - 1)
    return affine


def _grid_positions(length: int, spacing: float) -> tuple[int, float, float]:
    """Number of grid pixels that cover ``length`` source pixels, and first position and step in source indices."""
    count = max(1, round(length * spacing / GRID_SPACING_MM))
    step = GRID_SPACING_MM / spacing
    return count, (length - 1) / 2 - step * (count - 1) / 2, step  # both grids share their centre


def _interpolation(length: int, first: float, step: float, count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    position = np.clip(first + step * np.arange(count), 0, length - 1)
    low = np.minimum(position.astype(np.intp), max(length - 2, 0))
    return low, (position - low).astype(np.float32)


def _resample(
    image: NDArray[np.float32], rows: tuple[int, float, float], columns: tuple[int, float, float]
) -> NDArray[np.float32]:
    """Separable linear interpolation of one slice at (first + step × k) along rows and columns."""
    for count, first, step in (rows, columns):
        if step > 1.2:  # a finer source would alias: average over one grid pixel first
            image = ndimage.gaussian_filter1d(image, 0.35 * step, axis=0, mode="nearest")
        low, weight = _interpolation(len(image), first, step, count)
        out = np.take(image, low, axis=0)
        further = np.take(image, np.minimum(low + 1, len(image) - 1), axis=0)
        further -= out
        further *= weight[:, None]
        out += further
        image = np.ascontiguousarray(out.T)  # whole rows are fetched faster than single pixels
    return image


def to_grid(volume: Volume) -> Grid:
    """Orient, normalise and resample a volume for the networks.

    Args:
        volume: Any axis order.

    Raises:
        NoSagittalSeries: The volume's sagittal planes are too coarse to be acquired ones (an axial or coronal stack).
    """
    axes, flips = canonical_axes(volume.affine)
    affine = _oriented_affine(volume, axes, flips)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if max(spacing[1], spacing[2]) > _MAX_IN_PLANE_MM:
        raise NoSagittalSeries(
            f"The sagittal planes of this volume have pixels of {spacing[1]:.1f} × {spacing[2]:.1f} mm: "
            "it was acquired as an axial or coronal stack."
        )
    slices = np.ascontiguousarray(_oriented(volume.array, axes, flips), dtype=np.float32)
    scale = intensity_scale(slices)
    rows = _grid_positions(slices.shape[1], float(spacing[1]))
    columns = _grid_positions(slices.shape[2], float(spacing[2]))
    height, width = (-(-count // GRID_MULTIPLE) * GRID_MULTIPLE for count in (rows[0], columns[0]))
    top, left = (height - rows[0]) // 2, (width - columns[0]) // 2
    pixels = np.zeros((len(slices), height, width), dtype=np.uint8)
    field_of_view = (top, top + rows[0], left, left + columns[0])
    for image, plane in zip(slices, pixels, strict=True):  # one by one: a slice fits the processor's cache
        plane[top : field_of_view[1], left : field_of_view[3]] = normalise(_resample(image, rows, columns), scale)

    grid_to_oriented = np.diag([1.0, rows[2], columns[2], 1.0])
    grid_to_oriented[1, 3] = rows[1] - rows[2] * top
    grid_to_oriented[2, 3] = columns[1] - columns[2] * left
    return Grid(
        pixels=pixels,
        field_of_view=field_of_view,
        slice_spacing_mm=float(spacing[0]) if len(slices) > 1 else 0.0,
        affine=affine @ grid_to_oriented,
        source=volume,
        axes=axes,
        flips=flips,
    )


def to_source(grid: Grid, instances: NDArray[np.uint8], disc_probability: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring disc labels from the grid into the geometry of the source volume.

    The probability is interpolated and cut at one half, so outlines stay smooth where the source is finer than the
    grid; the label is that of the nearest disc.

    Args:
        grid: From :func:`to_grid`.
        instances: uint8 (N, H, W); 0 or a disc's label.
        disc_probability: uint8 (N, H, W); 255 × probability of disc.

    Returns:
        uint8 labels with exactly the shape and axis order of ``grid.source.array``.
    """
    shape = tuple(grid.source.array.shape[axis] for axis in grid.axes)
    labels = np.zeros(shape, dtype=np.uint8)
    origin, steps = _source_positions(grid, shape)
    for label, box in label_boxes(instances).items():
        rows, row_span = _source_span(box[1], origin[0], steps[0], shape[1])
        columns, column_span = _source_span(box[2], origin[1], steps[1], shape[2])
        window = (box[0], *(slice(max(s.start - 2, 0), s.stop + 2) for s in box[1:]))
        member = ndimage.grey_dilation(instances[window], size=(1, 3, 3)) == label
        probability = np.where(member, disc_probability[window], 0).astype(np.float32)
        interpolated = _sample(probability, rows - window[1].start, columns - window[2].start)
        target = labels[box[0], row_span, column_span]
        target[(interpolated >= 127.5) & (target == 0)] = label
    return _unoriented(labels, grid)


def _source_positions(grid: Grid, shape: tuple[int, ...]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Grid index of source row/column 0, and grid pixels per source pixel, in the oriented source."""
    spacing = [grid.source.spacing[axis] for axis in grid.axes]
    origin, steps = [], []
    for axis, start in ((1, grid.field_of_view[0]), (2, grid.field_of_view[2])):
        _, first, step = _grid_positions(shape[axis], spacing[axis])
        origin.append(start - first / step)
        steps.append(1 / step)
    return (origin[0], origin[1]), (steps[0], steps[1])


def _source_span(
    box: slice[int, int, None], origin: float, step: float, length: int
) -> tuple[NDArray[np.float64], slice[int, int, None]]:
    """Source pixels that a grid box may touch: their positions on the grid, and their indices."""
    start = max(0, int(np.floor((box.start - 1 - origin) / step)))
    stop = min(length, int(np.ceil((box.stop + 1 - origin) / step)) + 1)
    return origin + step * np.arange(start, stop), slice(start, stop)


def _sample(
    slices: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Separable linear interpolation at given rows and columns; 0 outside."""
    padded = np.pad(slices, ((0, 0), (1, 1), (1, 1)))
    out = padded
    for axis, position in ((1, rows + 1), (2, columns + 1)):
        position = np.clip(position, 0, padded.shape[axis] - 1)
        low = np.minimum(position.astype(np.intp), padded.shape[axis] - 2)
        weight = (position - low).astype(np.float32)
        weight = weight[:, None] if axis == 1 else weight
        lower = np.take(out, low, axis=axis)
        out = lower + (np.take(out, low + 1, axis=axis) - lower) * weight
    return out


def _unoriented(labels: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    unflipped = labels[tuple(slice(None, None, -1) if flip else slice(None) for flip in grid.flips)]
    return np.ascontiguousarray(unflipped.transpose(np.argsort(grid.axes)))
