"""Assemble a phantom study: paint its slices, scan them, place them in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.volume import Volume
from training.phantom.anatomy import Array, build_spine
from training.phantom.look import draw_look
from training.phantom.paint import Painter
from training.phantom.plane import Plane
from training.phantom.scanner import coil, covered, scan
from training.phantom.spec import LEVELS, PhantomSpec

__all__ = ["Phantom", "affine_of", "make_phantom"]

# A disc of which less than this is in the field of view is not counted as shown.
_SHOWN_MM3 = 300.0


@dataclass(frozen=True, eq=False)
class Phantom:
    """A study and the truth about it.

    Attributes:
        spec: What it was made from.
        volume: The image, shape (slices, rows, columns), whole numbers 0 to 4095 as a scanner would store them.
        labels: uint8, same shape: 0 background, 1 disc, 2 vertebra (with its arch; not the sacrum), 3 spinal canal.
        instances: uint8, same shape: 0, or the disc's number; 1 is the lowest disc shown.
        levels: Level of each disc shown, from the lowest upward: ``levels[i]`` is instance ``i + 1``.
        grades: Pfirrmann grade 1 to 5 of each disc shown, in the same order.
    """

    spec: PhantomSpec
    volume: Volume
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    levels: tuple[str, ...]
    grades: tuple[int, ...]


def _rotation(tilt_deg: tuple[float, float, float]) -> Array:
    """Rotation about x, then y, then z, shape (3, 3)."""
    out = np.eye(3)
    for axis, angle in enumerate(np.radians(tilt_deg)):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
        out = turn @ out
    return out


def affine_of(
    slices: int, step: float, pixel: float, matrix: tuple[int, int], shift: tuple[float, float], left_first: bool
) -> Array:
    """Affine (LPS, mm) of an upright sagittal stack centred at (0, *shift): rows run down, columns to the back."""
    sign = -1.0 if left_first else 1.0
    affine = np.eye(4)
    affine[:3, 0] = sign * step, 0.0, 0.0
    affine[:3, 1] = 0.0, 0.0, -pixel
    affine[:3, 2] = 0.0, pixel, 0.0
    centre = np.array([slices - 1, matrix[0] - 1, matrix[1] - 1]) / 2
    affine[:3, 3] = np.array([0.0, *shift]) - affine[:3, :3] @ centre
    return affine


def _shown(spec: PhantomSpec, instances: NDArray[np.uint8]) -> list[int]:
    voxel = spec.slice_spacing_mm * spec.pixel_mm**2
    counts = np.bincount(instances.ravel(), minlength=len(LEVELS) + 1)[1:] * voxel
    # A single slice shows an area, not a volume: ask for the same share of the disc.
    needed = min(_SHOWN_MM3, 60.0 * spec.slices * spec.slice_spacing_mm)
    return [i for i, mm3 in enumerate(counts, start=1) if mm3 >= needed]


def make_phantom(spec: PhantomSpec) -> Phantom:
    """Make the study `spec` describes; see `PhantomSpec`.

    Returns:
        The study with labels; discs cut off by the field of view down to a sliver keep their tissue label but have no
        instance number.
    """
    spine, look = build_spine(spec), draw_look(spec)
    shift = (10.0 + spec.shift_mm[0], -8.0 + spec.shift_mm[1])
    affine = affine_of(spec.slices, spec.slice_spacing_mm, spec.pixel_mm, spec.matrix, shift, spec.left_first)
    rows, columns = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in spec.matrix), indexing="ij")
    y = affine[1, 3] + affine[1, 2] * columns
    z = affine[2, 3] + affine[2, 1] * rows
    plane = Plane(spine, look, y, z, np.random.default_rng([spec.seed, 3]))
    painter = Painter(plane, look, spec.pixel_mm, np.random.default_rng([spec.seed, 4]))
    shape = (spec.slices, *spec.matrix)
    array = np.zeros(shape, np.float32)
    labels, instances = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    sensitivity = coil(plane, look)
    content = covered(spec.matrix, look, spec.pixel_mm)
    noise = np.random.default_rng([spec.seed, 5])
    for k in range(spec.slices):
        u = float(affine[0, 3] + affine[0, 0] * k)
        image, labels[k], instances[k] = painter.slice(u, 0.9 * spec.slice_spacing_mm)
        array[k] = content * scan(image * sensitivity, look, spec.pixel_mm, noise)
    affine[:3] = _rotation(spec.tilt_deg) @ affine[:3]
    shown = _shown(spec, instances)
    renumber = np.zeros(256, np.uint8)
    renumber[shown] = np.arange(1, len(shown) + 1)
    levels = tuple(LEVELS[i - 1] for i in shown)
    grades = tuple(spec.grade_of_level[level] for level in levels)
    return Phantom(spec, Volume(array, affine), labels, renumber[instances], levels, grades)
