"""The in-plane grid in spine coordinates, with everything that is the same in every slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from training.phantom.anatomy import Array, Spine, Vertebra
from training.phantom.look import Look

__all__ = ["Arch", "Canvas", "Index", "Patch", "Plane", "cover"]

Index = NDArray[np.intp]


def cover(x: Array, width: float) -> Array:
    """How much of a pixel lies inside: 0 for ``x`` well below 0, 1 well above, a ramp of 3 `width` between."""
    out: Array = np.clip(x * (1 / (3 * width)) + 0.5, 0.0, 1.0)
    return out


@dataclass(frozen=True)
class Patch:
    """Pixels near one structure (flat indices) and their spine coordinates, mm."""

    at: Index
    s: Array
    t: Array


@dataclass(frozen=True)
class Arch:
    """Pixels near one vertebra's posterior elements, in its rigid frame (mm): a behind its back wall, h upward."""

    at: Index
    a: Array
    h: Array
    scale: float
    tilt: float


@dataclass(frozen=True)
class Canvas:
    """A slice being painted, flat; label arrays are None where only the signal is wanted."""

    image: Array
    labels: NDArray[np.uint8] | None
    instances: NDArray[np.uint8] | None
    pixel: float

    def blend(self, at: Index, distance: Array, value: float | Array) -> None:
        """Paint `value` where the signed `distance` (mm) is negative, with an edge one pixel soft."""
        share = np.clip(0.5 - distance / self.pixel, 0.0, 1.0)
        self.image[at] += share * (value - self.image[at])

    def label(self, at: Index, value: int, number: int = 0) -> None:
        """Give pixels a tissue label and the number of their disc."""
        if self.labels is not None and self.instances is not None:
            self.labels[at] = value
            self.instances[at] = number


def _uneven(y: Array, z: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Shift positions by a smooth random field of about 1 mm: no outline in a body is a clean curve."""
    # Cells of 5 mm over more than any field of view, so that the field does not depend on resolution or matrix.
    fine, broad = rng.standard_normal((2, 128, 128)), rng.standard_normal((2, 128, 128))
    fields = [
        0.55 * f / f.std() + 0.8 * b / b.std()
        for f, b in zip(gaussian_filter(fine, (0, 1.1, 1.1)), gaussian_filter(broad, (0, 4.0, 4.0)), strict=True)
    ]
    at = np.stack([64 + z / 5.0, 64 + y / 5.0])
    dy, dz = (map_coordinates(field, at, order=1, mode="nearest") for field in fields)
    return y + dy, z + dz


class Plane:
    """Grid of pixels at posterior positions ``y`` and superior positions ``z`` (mm, flat), with spine coordinates.

    Attributes:
        shape: Rows, columns.
        y: Posterior position of each pixel.
        z: Superior position.
        s: Position along the spine.
        t: Distance behind the centreline.
        front: Half depth of the column in front of the centreline, at each pixel's s.
        back: The same behind.
        side: Sideways position of the spine at each pixel's s.
        behind_fascia: Distance behind the fascia of the back.
        behind_skin: Distance behind the skin of the back.
        belly: Distance behind the skin of the belly.
    """

    def __init__(self, spine: Spine, look: Look, y: Array, z: Array, rng: np.random.Generator) -> None:
        """Work out the coordinates.

        Args:
            spine: The anatomy.
            look: Thickness of the fat.
            y: Posterior position of every pixel, mm, shape (rows, columns).
            z: Superior position, same shape.
            rng: Source of the body's outline.
        """
        self.shape = y.shape
        self.spine = spine
        y, z = _uneven(y, z, rng)
        s, t = spine.coordinates(y, z)
        self.y, self.z, self.s, self.t = y.ravel(), z.ravel(), s.ravel(), t.ravel()
        bodies = [*spine.sacrum[::-1], *spine.vertebrae]
        middles = [(v.low + v.high) / 2 for v in bodies]
        walls = [gaussian_filter1d(np.interp(spine.s, middles, [v.depth - v.shift for v in bodies]), 12.0)]
        walls.append(gaussian_filter1d(np.interp(spine.s, middles, [v.depth + v.shift for v in bodies]), 12.0))
        self.front, self.back = (np.interp(self.s, spine.s, wall) for wall in walls)
        self.side = np.interp(self.s, spine.s, spine.side)
        self.behind_fascia, self.behind_skin = self._outline(look, rng)
        self.belly = self.y - (rng.normal(-135.0, 18.0) * spine.size + 12 * np.cos(self.z / 80))

    def patch(self, s0: float, s1: float, t0: float, t1: float) -> Patch:
        """Pixels with s and t between the limits given."""
        at = np.flatnonzero((self.s > s0) & (self.s < s1) & (self.t > t0) & (self.t < t1))
        return Patch(at, self.s[at], self.t[at])

    def arch(self, index: int, v: Vertebra, rng: np.random.Generator) -> Arch:
        """Pixels near the posterior elements of vertebra `index` (0 is L5)."""
        spine = self.spine
        middle = (v.low + v.high) / 2
        y, z = spine.at(middle)
        lean = float(np.interp(middle, spine.s, spine.lean))
        a = (self.y - y) * np.cos(lean) + (self.z - z) * np.sin(lean) - v.depth - v.shift
        h = (self.z - z) * np.cos(lean) - (self.y - y) * np.sin(lean)
        scale = spine.size * (0.78, 0.95, 1.0, 1.0, 0.95, 0.88, 0.8, 0.75, 0.75, 0.75)[index] * rng.normal(1.0, 0.05)
        tilt = np.radians((14, 10, 8, 8, 10, 16, 26, 38, 45, 50)[index] + rng.normal(0, 4))
        at = np.flatnonzero((a > -9) & (a < 54 * scale) & (h > -40 * scale) & (h < 24 * scale))
        return Arch(at, a[at], h[at], float(scale), float(tilt))

    def _outline(self, look: Look, rng: np.random.Generator) -> tuple[Array, Array]:
        """Distance of every pixel behind the fascia and behind the skin (negative: in front of it)."""
        spine = self.spine
        reach = np.interp(spine.s, (-90, -40, 0, 40, 120, 250), (15, 22, 46, 66, 69, 60)) * spine.size
        y = spine.curve[:, 0] + reach * np.cos(spine.lean)
        z = spine.curve[:, 1] + reach * np.sin(spine.lean)
        levels = np.arange(-260.0, 330.0, 2.0)
        order = np.argsort(z)
        fascia = gaussian_filter1d(np.interp(levels, z[order], gaussian_filter1d(y[order], 12.0)), 9.0)
        thick = look.fat_thickness * (1.0 + rng.uniform(0.2, 0.9) * np.exp(-(((levels + 70) / 60) ** 2)))
        wave = gaussian_filter1d(rng.normal(0, 1, levels.size), 6.0) * 4.0
        behind = self.y - np.interp(self.z, levels, fascia)
        return behind, behind - np.interp(self.z, levels, thick + wave)
