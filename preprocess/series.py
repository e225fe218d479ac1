"""Groups slices into stacks and picks the one to grade: the plain sagittal T2 of the lumbar spine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from discgrade.errors import (
    MissingGeometry,
    MixedStudy,
    NoSagittalSeries,
    NoT2Series,
    SliceGap,
    WrongModality,
)
from preprocess.contrast import Weighting, describes, image_kind, is_derived, is_localizer, weighting
from preprocess.dicom_slice import Slice

__all__ = ["Choice", "Stack", "choose", "group_stacks"]

_SAME_STACK = np.cos(np.radians(10.0))
_SAGITTAL_DEGREES = 30.0
_USUAL_ECHO_MS = 100.0
_FAT_SUPPRESSED = (Weighting.T2_FAT_SUPPRESSED, Weighting.STIR)


@dataclass(frozen=True)
class Stack:
    """Slices of one series that belong to one volume: same orientation, echo, stack and kind of image.

    Attributes:
        slices: In the order of the upload.
    """

    slices: tuple[Slice, ...]

    @property
    def first(self) -> Slice:
        """The slice that speaks for the stack; all share what it is asked."""
        return self.slices[0]

    @cached_property
    def weighting(self) -> Weighting:
        """Contrast of the stack."""
        return weighting(self.first.acquisition)

    @cached_property
    def tilt(self) -> float | None:
        """Degrees between the slice normal and the patient's left-right axis; None without orientation."""
        normal = _normal(self.first)
        return None if normal is None else float(np.degrees(np.arccos(min(1.0, abs(normal[0])))))

    @property
    def is_sagittal(self) -> bool:
        """Whether the slices are sagittal, within 30 degrees."""
        return self.tilt is not None and self.tilt <= _SAGITTAL_DEGREES

    @property
    def plane_name(self) -> str:
        """What radiologists call the orientation."""
        normal = _normal(self.first)
        if normal is None:
            return "unplaced"
        return "sagittal" if self.is_sagittal else ("oblique", "coronal", "axial")[int(np.argmax(np.abs(normal)))]


@dataclass(frozen=True)
class Choice:
    """The stack to grade.

    Attributes:
        stack: What to read.
        because: Why this one, without patient data.
        code: Code of a warning that goes with it, or None.
    """

    stack: Stack
    because: str
    code: str | None


def _normal(one: Slice) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    if one.plane.orientation is None:
        return None
    normal = np.cross(one.plane.orientation[:3], one.plane.orientation[3:])
    length = np.linalg.norm(normal)
    return None if length < 0.5 else normal / length


def group_stacks(slices: Sequence[Slice]) -> list[Stack]:
    """Group slices by series, stack, echo, kind of image and orientation.

    A localiser of three planes, a dual-echo series and the frames of several stacks in one enhanced object each fall
    apart; slices without orientation form stacks of their own.

    Args:
        slices: Any slices.

    Returns:
        Stacks in the order in which their first slice came.
    """
    groups: dict[tuple[object, ...], list[list[Slice]]] = {}
    for one in slices:
        acquisition = one.acquisition
        echo = None if acquisition.echo_time is None else round(acquisition.echo_time, 1)
        key = (one.series, one.stack, echo, image_kind(acquisition), acquisition.diffusion)
        _place(one, groups.setdefault(key, []))
    return [Stack(tuple(members)) for clusters in groups.values() for members in clusters]


def _place(one: Slice, clusters: list[list[Slice]]) -> None:
    normal = _normal(one)
    for members in clusters:
        other = _normal(members[0])
        if (normal is None) == (other is None) and (
            normal is None or other is None or float(normal @ other) >= _SAME_STACK
        ):
            members.append(one)
            return
    clusters.append([one])


def choose(slices: Sequence[Slice]) -> Choice:
    """Pick the stack to grade.

    Among sagittal MR stacks: plain T2 before fat-suppressed T2 before STIR; then originals before derived images;
    then what looks most like a lumbar study (body part, number of slices, field of view), then the finer pixels.

    Args:
        slices: Every image plane of the upload.

    Returns:
        The stack and why; with code ``fat_suppressed`` where no plain T2 was there and ``contrast_unknown`` where the
        only sagittal series does not say what it is.

    Raises:
        WrongModality: No MR.
        MissingGeometry: No orientation anywhere, or not on every slice of the chosen series.
        NoSagittalSeries: Axial, coronal or oblique only.
        NoT2Series: Sagittal, but T1, proton density, a localiser, …
        MixedStudy: T2 series of several studies.
        SliceGap: Parts of a concatenation are missing.
    """
    stacks = group_stacks([one for one in slices if one.modality == "MR"])
    if not stacks:
        raise WrongModality(f"None of the {len(slices)} images is MR.")
    if all(stack.tilt is None for stack in stacks):
        raise MissingGeometry("No image has a usable Image Orientation (Patient).")
    sagittal = [stack for stack in stacks if stack.is_sagittal]
    if not sagittal:
        raise NoSagittalSeries(f"Found {_census(stacks)}, but nothing sagittal.")
    usable = [stack for stack in sagittal if not is_localizer(stack.first.acquisition)]
    plain = [stack for stack in usable if stack.weighting is Weighting.T2]
    code = None
    if not plain:
        plain = [stack for stack in usable if stack.weighting in _FAT_SUPPRESSED]
        code = "fat_suppressed"
    if not plain and len(usable) == 1 and usable[0].weighting is Weighting.UNKNOWN:
        plain = usable
        code = "contrast_unknown"
    if not plain:
        raise NoT2Series(f"Found {_census(sagittal)}, but no T2-weighted series.")
    best = max(plain, key=_rank)
    if len({stack.first.study for stack in plain}) > 1:
        raise MixedStudy("The upload holds sagittal T2 series of several studies.", "Send one study at a time.")
    _check_complete(best, slices)
    return Choice(best, _because(best, stacks), code)


def _rank(stack: Stack) -> tuple[float | str, ...]:
    """Sorts the stack to grade last."""
    acquisition, plane = stack.first.acquisition, stack.first.plane
    spacing = plane.spacing or (1.0, 1.0)
    along_row, along_column = np.reshape(plane.orientation or (0, 1, 0, 0, 0, -1), (2, 3))
    height = abs(along_column[2]) * plane.rows * spacing[0] + abs(along_row[2]) * plane.columns * spacing[1]
    return (
        -_FAT_SUPPRESSED.index(stack.weighting) if stack.weighting in _FAT_SUPPRESSED else 0,
        not is_derived(acquisition),
        2 * describes(acquisition, "lumbar")
        + describes(acquisition, "spine")
        - 2 * describes(acquisition, "elsewhere"),
        len(stack.slices) >= 5,
        bool(180.0 <= height <= 420.0),
        describes(acquisition, "t2") + describes(acquisition, "fast spin echo"),
        -round(max(spacing), 2),
        len(stack.slices),
        -abs((acquisition.echo_time or 0.0) - _USUAL_ECHO_MS),
        -(stack.first.series_number or 0),
        stack.first.series,
    )


def _check_complete(best: Stack, slices: Sequence[Slice]) -> None:
    series = [one for one in slices if one.series == best.first.series and one.modality == "MR"]
    for one in series:
        if one.plane.orientation is None:
            raise MissingGeometry(f"{one.where.capitalize()} has no usable Image Orientation (Patient).")
    parts: dict[tuple[str, int], set[Path]] = {}
    for one in series:
        if one.concatenation is not None:
            parts.setdefault(one.concatenation, set()).add(one.path)
    for (_, total), paths in parts.items():
        if len(paths) < total:
            raise SliceGap(f"The series is a concatenation of {total} objects; {len(paths)} were sent.")


def _because(best: Stack, stacks: Sequence[Stack]) -> str:
    acquisition, plane = best.first.acquisition, best.first.plane
    name = "Series" if best.first.series_number is None else f"Series {best.first.series_number}"
    timing = [
        f"{label} {value:.4g} ms"
        for label, value in (("TE", acquisition.echo_time), ("TR", acquisition.repetition_time))
        if value is not None
    ]
    told = f"{best.weighting.value} ({', '.join(timing) if timing else 'no TE or TR given'})"
    count = len(best.slices)
    size = f"{count} slice{'s' if count > 1 else ''} of {plane.rows} x {plane.columns} pixels"
    others = [stack for stack in stacks if stack is not best]
    against = f"; the others: {_census(others)}" if others else "; nothing else was sent"
    return f"{name} is sagittal ({best.tilt:.0f} degrees off), {told}, {size}{against}."


def _census(stacks: Sequence[Stack]) -> str:
    """How many stacks there are of each kind, such as ``2 axial T2, 1 sagittal T1``."""
    kinds = Counter(
        f"{stack.plane_name} {'localiser' if is_localizer(stack.first.acquisition) else stack.weighting.value}"
        for stack in stacks
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
