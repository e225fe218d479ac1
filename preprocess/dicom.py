"""Builds a Volume from the slices of one stack: order, affine, pixel values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from discgrade.errors import (
    DuplicatePositions,
    ImplausibleSpacing,
    InconsistentSlices,
    InvalidPixelValues,
    MissingGeometry,
    MixedStudy,
    SliceGap,
    UnsupportedDimensions,
    UploadTooLarge,
)
from preprocess.dicom_pixels import decode_frames
from preprocess.dicom_slice import Slice
from preprocess.limits import Limits
from preprocess.plausible import check_pixels, check_spacing
from preprocess.volume import Volume

__all__ = ["read_stack", "stack_geometry"]

_MAX_MATRIX = 4096  # no MR scanner makes more; keeps one lying header from a huge allocation
_UNIT = 0.01  # how far direction cosines may be from unit length and right angles
_SAME_DIRECTION = 0.003  # between slices, per cosine: 0.6 mm over 200 mm
_SAME_SPACING = 0.001  # relative
_SAME_POSITION = 0.1  # of the usual step
_TOUCHING_MM = 0.01  # rounding of positions
_EVEN = 0.1  # of the step: how far a slice may lie from its even place
_SHEAR = 0.09  # sine of 5 degrees between the stack's direction and the slice normal


def read_stack(slices: Sequence[Slice], limits: Limits) -> tuple[Volume, list[Slice]]:
    """Decode the slices of one stack into a volume.

    Slices are ordered by the projection of Image Position (Patient) on the slice normal, never by Instance Number;
    the distance between slices comes from the positions of the first and the last (PS3.3 C.7.6.2.1.1).
    Values are rescaled slice by slice; MONOCHROME1 is inverted within the range of the volume, so that bright is
    high; padding becomes the darkest value of the image.

    Args:
        slices: Image planes of one orientation, in any order.
        limits: Bounds on slices and decoded bytes.

    Returns:
        A volume whose array is (slices, rows, columns) and whose affine maps it to mm LPS, and its slices in order.

    Raises:
        UploadTooLarge: More slices or bytes than allowed.
        MixedStudy: Several frames of reference.
        MissingGeometry: No orientation, position or spacing.
        InconsistentSlices: Sizes, spacings or orientations differ.
        DuplicatePositions: Two slices at one place.
        SliceGap: Slices missing or unevenly spaced.
        ImplausibleSpacing: Voxel size no MR scanner makes.
        UnsupportedDimensions: Colour.
        UnsupportedTransferSyntax: Encoding not read here.
        UnreadableFile: Truncated or damaged pixels.
        InvalidPixelValues: Non-finite or constant pixels.
    """
    if len(slices) > limits.max_slices:
        raise UploadTooLarge(f"The series has {len(slices)} slices; at most {limits.max_slices} are accepted.")
    ordered, affine = stack_geometry(slices)
    _check_image(ordered)
    rows, columns = ordered[0].plane.rows, ordered[0].plane.columns
    if max(rows, columns) > _MAX_MATRIX or 4 * rows * columns * len(ordered) > limits.max_bytes:
        raise UploadTooLarge(f"The series would decode to {len(ordered)} slices of {rows} x {columns} pixels.")
    volume = Volume(_pixels(ordered), affine)
    check_pixels(volume.array)
    return volume, ordered


def stack_geometry(slices: Sequence[Slice]) -> tuple[list[Slice], NDArray[np.float64]]:
    """Order slices along their normal and find the affine of the stack.

    Args:
        slices: Image planes in any order.

    Returns:
        The slices by increasing position along row × column direction, and the affine, shape (4, 4), from
        (slice, row, column) indices to mm LPS.

    Raises:
        See :func:`read_stack`.
    """
    if len({one.frame_of_reference for one in slices if one.frame_of_reference}) > 1:
        raise MixedStudy("The series mixes several frames of reference.", "Send the series as the scanner made it.")
    for one in slices:
        _check_plane(one)
    slices = sorted(slices, key=lambda one: one.plane.position or ())  # the order of upload must not matter
    first = slices[0].plane
    if any((one.plane.rows, one.plane.columns) != (first.rows, first.columns) for one in slices):
        raise InconsistentSlices("The slices of the series have different matrix sizes.")
    orientations = np.array([one.plane.orientation for one in slices])
    spacings = np.array([one.plane.spacing for one in slices])
    positions = np.array([one.plane.position for one in slices])
    if np.abs(orientations - orientations[0]).max() > _SAME_DIRECTION:
        raise InconsistentSlices("The slices of the series have different orientations.")
    if np.abs(spacings / spacings[0] - 1).max() > _SAME_SPACING:
        raise InconsistentSlices("The slices of the series have different pixel spacings.")
    along_row, along_column = orientations[0, :3], orientations[0, 3:]
    normal = np.cross(along_row, along_column)
    normal /= np.linalg.norm(normal)
    order = np.argsort(positions @ normal, kind="stable")
    ordered = [slices[k] for k in order]
    step = _step(ordered, positions[order], normal)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = along_column * spacings[0, 0]
    affine[:3, 2] = along_row * spacings[0, 1]
    affine[:3, 3] = positions[order[0]]
    check_spacing((float(np.linalg.norm(step)), *map(float, spacings[0])))
    return ordered, affine


def _check_plane(one: Slice) -> None:
    plane = one.plane
    for name, value in (
        ("Image Orientation (Patient)", plane.orientation),
        ("Image Position (Patient)", plane.position),
        ("Pixel Spacing", plane.spacing),
    ):
        if value is None:
            raise MissingGeometry(f"{one.where.capitalize()} has no usable {name}.")
    assert plane.orientation is not None
    assert plane.spacing is not None
    cosines = np.array(plane.orientation).reshape(2, 3)
    if np.abs(cosines @ cosines.T - np.eye(2)).max() > _UNIT:
        raise MissingGeometry(f"Image Orientation (Patient) of {one.where} is not a pair of perpendicular directions.")
    if min(plane.spacing) <= 0:
        raise ImplausibleSpacing(f"Pixel Spacing of {one.where} is not positive.")


def _step(ordered: Sequence[Slice], positions: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vector in mm from each slice of the ordered stack to the next."""
    plane = ordered[0].plane
    if len(ordered) == 1:
        distance = plane.between or plane.thickness
        if distance is None:
            raise MissingGeometry(
                "The only slice of the series has neither Spacing Between Slices nor Slice Thickness."
            )
        return normal * abs(distance)
    heights = positions @ normal
    gaps = np.diff(heights)
    typical = float(np.median(gaps))
    if gaps.min() <= max(_TOUCHING_MM, _SAME_POSITION * typical):
        k = int(np.argmin(gaps))
        raise DuplicatePositions(
            f"{ordered[k].where.capitalize()} and {ordered[k + 1].where} lie at the same position."
        )
    if _is_thinned(ordered, typical):
        raise SliceGap(
            f"The {len(ordered)} slices lie {typical:.2f} mm apart, but state a spacing of {plane.between:.2f} mm."
        )
    if gaps.max() > 1.5 * typical:
        raise SliceGap(
            f"The {len(ordered)} slices lie {typical:.2f} mm apart on the whole, one gap measures {gaps.max():.2f} mm."
        )
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(positions) - 1)
    length = float(np.linalg.norm(step))
    even = positions[0] + np.arange(len(positions))[:, None] * step
    off = positions - even
    if np.abs(off @ normal).max() > _EVEN * length:
        raise SliceGap("The slices of the series are unevenly spaced.", "Send every slice of one acquisition.")
    if np.linalg.norm(off, axis=1).max() > _EVEN * length or np.linalg.norm(np.cross(step, normal)) > _SHEAR * length:
        raise InconsistentSlices("The slices of the series are shifted sideways against each other.")
    return step


def _is_thinned(ordered: Sequence[Slice], typical: float) -> bool:
    """Whether every second slice or more is missing, by the spacing that the slices themselves state.

    Some scanners state the gap, not the distance between centres: then it is less than the thickness.
    """
    between, thickness = ordered[0].plane.between, ordered[0].plane.thickness
    return between is not None and thickness is not None and between >= thickness > 0 and typical > 1.5 * between


def _check_image(slices: Sequence[Slice]) -> None:
    if len({one.photometric for one in slices}) > 1:
        raise InconsistentSlices("The slices of the series have different photometric interpretations.")
    if slices[0].samples != 1 or slices[0].photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedDimensions("The series is in colour.", "Send the grey-scale series as the scanner made it.")
    if any(one.plane.rows < 1 or one.plane.columns < 1 for one in slices):
        raise UnsupportedDimensions("The images have no rows or columns.")


def _pixels(ordered: Sequence[Slice]) -> NDArray[np.float32]:
    rows, columns = ordered[0].plane.rows, ordered[0].plane.columns
    values = np.empty((len(ordered), rows, columns), np.float32)
    padding = np.zeros(values.shape, bool)
    files: dict[object, list[int]] = {}
    for k, one in enumerate(ordered):
        files.setdefault(one.path, []).append(k)
    for members in files.values():
        first = ordered[members[0]]
        stored = decode_frames(first.path, first.label, [ordered[k].frame for k in members])
        for k, frame in zip(members, stored, strict=True):
            one = ordered[k]
            if frame.shape != (rows, columns):
                raise InconsistentSlices(f"The pixels of {one.where} do not have the size that its header states.")
            if one.padding is not None:
                padding[k] = (frame >= one.padding[0]) & (frame <= one.padding[1])
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
                values[k] = frame * np.float32(one.slope) + np.float32(one.intercept)
    image = values[~padding] if padding.any() else values
    if image.size == 0 or not np.isfinite(image).all():
        raise InvalidPixelValues("The series holds no image, only padding or numbers that are not finite.")
    low, high = image.min(), image.max()
    if ordered[0].photometric == "MONOCHROME1":
        values = (low + high) - values
    values[padding] = low
    return values
