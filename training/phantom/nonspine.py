"""Sagittal T2 objects that are not a lumbar spine: a head or a knee, to be refused, and as negatives for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from preprocess.volume import Volume
from training.phantom.anatomy import Array
from training.phantom.look import Texture, draw_look
from training.phantom.phantom import affine_of
from training.phantom.plane import cover
from training.phantom.scanner import scan
from training.phantom.spec import PhantomSpec

__all__ = ["make_non_spine"]


class _Scene:
    """One slice being painted from solids; positions are (left, posterior, superior) in mm."""

    def __init__(self, u: float, y: Array, z: Array, texture: Texture) -> None:
        self.u, self.y, self.z, self.texture = u, y, z, texture
        self.image = np.full(y.shape, 0.004)

    def grain(self, size: float, stream: int) -> Array:
        return self.texture(self.u, self.y, self.z, (size, size, size), stream)

    def ellipsoid(
        self,
        at: Sequence[float],
        half: Sequence[float] | Array,
        value: float | Array,
        turn: float = 0.0,
        soft: float = 0.4,
    ) -> None:
        """Paint an ellipsoid, turned by `turn` radians in the sagittal plane."""
        c, s = np.cos(turn), np.sin(turn)
        y, z = self.y - at[1], self.z - at[2]
        q = ((self.u - at[0]) / half[0]) ** 2 + ((y * c - z * s) / half[1]) ** 2 + ((y * s + z * c) / half[2]) ** 2
        self.fill((1 - np.sqrt(q)) * min(half), value, soft)

    def shaft(self, start: Sequence[float], end: Sequence[float], radius: float, value: float | Array) -> None:
        """Paint a round rod from `start` to `end`."""
        axis = np.subtract(end, start)
        rel = (self.u - start[0], self.y - start[1], self.z - start[2])
        along = np.clip(sum(r * a for r, a in zip(rel, axis, strict=True)) / (axis @ axis), 0, 1)
        gap = np.sqrt(sum((r - along * a) ** 2 for r, a in zip(rel, axis, strict=True)))
        self.fill(radius - gap, value)

    def fill(self, inside: Array, value: float | Array, soft: float = 0.4) -> None:
        self.image += cover(inside, soft) * (value - self.image)


def _head(scene: _Scene, rng: np.random.Generator) -> None:
    k = rng.normal(1.0, 0.05)
    skull = np.array([74.0, 92.0, 72.0]) * k
    folds = scene.grain(7.0, 1)
    fine = scene.grain(2.5, 2)
    scene.ellipsoid((0, 20, -78), (55 * k, 42 * k, 80 * k), 0.25 + 0.1 * scene.grain(9.0, 3))
    scene.ellipsoid((0, -45, -50), (50 * k, 48 * k, 55 * k), 0.3 + 0.2 * scene.grain(8.0, 4))
    scene.ellipsoid((0, 0, 20), skull + 9, 0.75)
    scene.ellipsoid((0, 0, 20), skull + 4, 0.04)
    scene.ellipsoid((0, 0, 20), skull, 1.0)
    brain = 0.42 + 0.06 * fine + 0.5 * cover(0.18 - np.abs(folds), 0.08)
    scene.ellipsoid((0, 0, 21), skull - 3, brain)
    scene.ellipsoid((0, 0, 22), skull * 0.62, 0.34 + 0.03 * fine)
    scene.ellipsoid((13, 2, 28), (7, 30, 9), 1.0, -0.2)
    scene.ellipsoid((-13, 2, 28), (7, 30, 9), 1.0, -0.2)
    scene.ellipsoid((0, 45, -26), (45, 26, 22), 0.42 + 0.3 * cover(0.12 - np.abs(scene.grain(4.0, 5)), 0.06))
    scene.shaft((0, 16, 0), (0, 26, -110), 8.0, 0.4)
    for side in (-32.0, 32.0):
        scene.ellipsoid((side, -78, -12), (12, 12, 12), 1.05)


def _knee(scene: _Scene, rng: np.random.Generator) -> None:
    k = rng.normal(1.0, 0.06)
    muscle = 0.16 + 0.04 * scene.grain(6.0, 1) + 0.4 * cover(scene.grain(5.0, 2) - 1.2, 0.3)
    marrow = 0.6 + 0.05 * scene.grain(1.5, 3) + 0.06 * scene.grain(10.0, 4)
    bend = np.radians(rng.uniform(-12.0, 12.0))
    top, bottom = (0, 40 * np.sin(bend) - 12, 200), (0, 10, -200)
    for shrink, value in ((0.0, 0.3), (1.5, 1.0), (11.0, muscle)):
        scene.shaft((0, 15, 0), (0, 5, 220), 68 * k - shrink, value)
        scene.shaft((0, 15, 0), (0, 28, -220), 58 * k - shrink, value)
    for shrink, value in ((0.0, 0.03), (2.2, marrow)):
        scene.shaft((0, 0, 25), top, 17 * k - shrink, value)
        scene.shaft((0, 12, -30), bottom, 16 * k - shrink, value)
        for side in (-22.0, 22.0):
            scene.ellipsoid((side * k, 14, 14), (19 * k - shrink, 30 * k - shrink, 22 * k - shrink), value)
        scene.ellipsoid((0, 12, -28), (38 * k - shrink, 26 * k - shrink, 19 * k - shrink), value)
        scene.ellipsoid((0, -36, 18), (20 * k - shrink, 10 * k - shrink, 21 * k - shrink), value)
    scene.ellipsoid((0, -26, -12), (18, 11, 13), 0.95)
    scene.ellipsoid((0, -22, 44), (14, 6, 14), 1.15)
    scene.shaft((0, -40, 0), (0, -18, -42), 3.0, 0.05)
    scene.shaft((0, -38, 38), (0, -30, 120), 3.5, 0.05)
    for y, turn in ((-8.0, 0.25), (32.0, -0.25)):
        scene.ellipsoid((22, y, -8.5), (14, 8, 2.8), 0.05, turn)
        scene.ellipsoid((-22, y, -8.5), (14, 8, 2.8), 0.05, turn)
    scene.shaft((0, 26, 2), (0, -6, -14), 3.2, 0.1)


def make_non_spine(
    seed: int, *, slices: int = 15, slice_spacing_mm: float = 4.0, pixel_mm: float = 0.625, rows: int = 384
) -> Volume:
    """Make a sagittal T2 image without a lumbar spine: a head (even seeds) or a knee (odd seeds).

    Args:
        seed: The same seed gives the same image.
        slices: Number of slices.
        slice_spacing_mm: Distance between slice centres.
        pixel_mm: In-plane distance between pixel centres.
        rows: Rows, and columns.

    Returns:
        Shape (slices, rows, rows), whole numbers 0 to 4095, slices from right to left, LPS affine.
    """
    rng = np.random.default_rng([seed, 6])
    spec = PhantomSpec(seed=seed)
    look = draw_look(spec)
    shift = (float(rng.normal(0, 8)), float(rng.normal(0, 8)))
    affine = affine_of(slices, slice_spacing_mm, pixel_mm, (rows, rows), shift, left_first=False)
    grid = np.arange(rows, dtype=np.float64)
    y = np.broadcast_to(affine[1, 3] + pixel_mm * grid[None, :], (rows, rows))
    z = np.broadcast_to(affine[2, 3] - pixel_mm * grid[:, None], (rows, rows))
    # One volume coil: sensitivity falls gently toward the edges.
    smooth = np.exp(-(((y - rng.normal(0, 20)) / 200) ** 2) - ((z - rng.normal(0, 20)) / 220) ** 2)
    texture = Texture(rng)
    body = int(rng.integers(0, 2**31))
    array = np.zeros((slices, rows, rows), np.float32)
    for k in range(slices):
        scene = _Scene(float(affine[0, 3] + affine[0, 0] * k), y, z, texture)
        (_knee if seed % 2 else _head)(scene, np.random.default_rng(body))
        array[k] = scan(scene.image * smooth, look, pixel_mm, rng)
    return Volume(array, affine)
