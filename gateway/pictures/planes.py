"""The graded image and its discs as sagittal planes, read back from what is kept of a result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from contourpy import contour_generator
from isal import isal_zlib
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from discgrade.result import Disc, GradingResult
from gateway.pictures.scene import Points
from preprocess.grid import canonical_axes

__all__ = ["DiscPlace", "Planes", "Window", "places_of", "read_planes", "shown_slice"]

_GZIP = 31  # as zlib numbers formats
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_BLACK_PERCENTILE = 0.5
_WHITE_PERCENTILE = 99.0
_GAMMA = 0.85
_SMOOTHING = 0.6  # pixels: leaves a disc one pixel thick where it is
_ROUNDING = 1.5  # corners of a contour, of which there are one or two a pixel: takes the stairs from it


@dataclass(frozen=True)
class DiscPlace:
    """Where a disc is seen.

    Attributes:
        slice: 0-based, the one nearest its middle on which it lies.
        row: Of its middle on that slice.
        column: Likewise.
    """

    slice: int
    row: float
    column: float


@dataclass(frozen=True)
class Window:
    """A part of a plane and its size on a picture.

    Attributes:
        top: First row, which may lie outside of the image.
        left: First column, likewise.
        bottom: Row after the last.
        right: Column after the last.
        row_scale: Units of the picture for a row.
        column_scale: Units of the picture for a column; not the same where pixels are not square.
    """

    top: int
    left: int
    bottom: int
    right: int
    row_scale: float
    column_scale: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height on the picture."""
        return (self.right - self.left) * self.column_scale, (self.bottom - self.top) * self.row_scale

    def place(self, row: float, column: float) -> tuple[float, float]:
        """Where the middle of a pixel lies on the picture: x, y from the window's corner."""
        return (column + 0.5 - self.left) * self.column_scale, (row + 0.5 - self.top) * self.row_scale


@dataclass(frozen=True, eq=False)
class Planes:
    """Sagittal slices from the patient's right to left, rows downward, columns from front to back.

    Attributes:
        pixels: Shape (N, H, W), int16, uint16 or float32.
        labels: uint8, the same shape: 0, or a disc's label.
        spacing: mm between slices, rows, columns.
        affine: float64 (4, 4): slice, row, column to mm LPS.
    """

    pixels: NDArray[Any]
    labels: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]

    @cached_property
    def _boxes(self) -> list[tuple[slice, ...] | None]:
        return list(ndimage.find_objects(self.labels))

    def place_of(self, disc: Disc) -> DiscPlace:
        """Find a disc; one too small to have a pixel of its own lies where its centre is."""
        box = self._boxes[disc.label - 1] if disc.label <= len(self._boxes) else None
        if box is None:
            found = np.linalg.inv(self.affine) @ [*disc.centroid_mm_lps, 1.0]
            s, row, column = (
                float(np.clip(value, 0, n - 1)) for value, n in zip(found[:3], self.labels.shape, strict=True)
            )
            return DiscPlace(round(s), row, column)
        own = self.labels[box] == disc.label
        sizes = own.sum(axis=(1, 2))
        middle = float(np.average(np.arange(len(sizes)), weights=sizes))
        nearest = min(np.flatnonzero(sizes), key=lambda index: abs(index - middle))
        rows, columns = np.nonzero(own[nearest])
        corner = [axis.start for axis in box]
        return DiscPlace(corner[0] + int(nearest), corner[1] + float(rows.mean()), corner[2] + float(columns.mean()))

    def grey(self, index: int, window: Window, size: tuple[int, int]) -> NDArray[np.uint8]:
        """A window of a slice for the eye, as a reader would set it: fat near the coil may saturate, discs may not.

        Args:
            index: The slice.
            window: The part; what lies outside of the image is black.
            size: Width and height in pixels to enlarge it to.
        """
        inside = self.pixels[
            index, max(window.top, 0) : max(window.bottom, 0), max(window.left, 0) : max(window.right, 0)
        ].astype(np.float32)
        black, white = np.percentile(inside, [_BLACK_PERCENTILE, _WHITE_PERCENTILE])
        shown = np.clip((inside - black) / max(white - black, np.finfo(np.float32).tiny), 0, 1) ** _GAMMA
        before = max(-window.top, 0), max(-window.left, 0)
        canvas = np.zeros((window.bottom - window.top, window.right - window.left), np.uint8)
        canvas[before[0] : before[0] + shown.shape[0], before[1] : before[1] + shown.shape[1]] = np.rint(255 * shown)
        return np.asarray(Image.fromarray(canvas).resize(size, Image.Resampling.BICUBIC))

    def outline(self, label: int, index: int, window: Window) -> list[Points]:
        """Closed lines around a disc on a slice, x and y from the window's corner, each float64 (n, 2)."""
        rows, columns = np.nonzero(self.labels[index] == label)
        if not len(rows):
            return []
        margin = 3
        corner = int(rows.min()) - margin, int(columns.min()) - margin
        mask = np.zeros((int(np.ptp(rows)) + 1 + 2 * margin, int(np.ptp(columns)) + 1 + 2 * margin))
        mask[rows - corner[0], columns - corner[1]] = 1.0
        soft = ndimage.gaussian_filter(mask, _SMOOTHING)
        lines: Any = contour_generator(z=soft).lines(0.5)  # arrays of column, row
        made = []
        for line in lines:
            rounded = ndimage.gaussian_filter1d(line[:-1], _ROUNDING, axis=0, mode="wrap")
            closed = np.concatenate([rounded, rounded[:1]])
            made.append(np.column_stack(window.place(closed[:, 1] + corner[0], closed[:, 0] + corner[1])))
        return made


def read_planes(image: bytes, segmentation: bytes) -> Planes:
    """Unpack and orient ``image.nii.gz`` and ``segmentation.nii.gz`` of a result."""
    grey, labels = (
        Nifti1Image.from_bytes(isal_zlib.decompress(packed, wbits=_GZIP)) for packed in (image, segmentation)
    )
    affine = _RAS_TO_LPS @ grey.affine
    axes, flips = canonical_axes(affine)
    backwards = [axis for axis, flip in enumerate(flips) if flip]
    shape = [grey.shape[axis] for axis in axes]
    oriented = np.eye(4)
    oriented[:3, :3] = affine[:3, list(axes)]
    oriented[:3, 3] = affine[:3, 3]
    for axis in backwards:
        oriented[:3, 3] += oriented[:3, axis] * (shape[axis] - 1)
        oriented[:3, axis] *= -1
    slices, rows, columns = np.linalg.norm(oriented[:3, :3], axis=0)
    return Planes(
        pixels=np.flip(np.asarray(grey.dataobj).transpose(axes), backwards),
        labels=np.flip(np.asarray(labels.dataobj, np.uint8).transpose(axes), backwards),
        spacing=(float(slices), float(rows), float(columns)),
        affine=oriented,
    )


def shown_slice(places: dict[int, DiscPlace]) -> int:
    """The slice on which most discs are seen at their middle."""
    return int(np.median([place.slice for place in places.values()]))


def places_of(planes: Planes, result: GradingResult) -> dict[int, DiscPlace]:
    """Every disc's place by its label."""
    return {disc.label: planes.place_of(disc) for disc in result.discs}
