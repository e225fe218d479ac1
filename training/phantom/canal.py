"""Spinal canal: epidural fat, dural sac, cord, cauda equina and the roots in the foramina."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.phantom.anatomy import Array
from training.phantom.look import Look, Texture
from training.phantom.plane import Canvas, Plane

__all__ = ["CANAL", "Canal"]

CANAL = 3
_ROOTS = 26


class Canal:
    """Paints the canal; what does not depend on the slice is worked out once."""

    def __init__(self, plane: Plane, look: Look, texture: Texture, rng: np.random.Generator) -> None:
        """Lay out the sac along the spine, narrowed by bulging discs."""
        spine = plane.spine
        self._spine, self._look, self._texture = spine, look, texture
        self._patch = plane.patch(spine.sac_end - 40, float(spine.s[-1]), 0, 48)
        s, at = self._patch.s, self._patch.at
        self._back, self._side = plane.back[at], plane.side[at]
        size = spine.size
        middles = [(d.low + d.high) / 2 for d in spine.discs]
        # 1 at the discs, -1 at the middle of the bodies: fat shows between the laminae.
        between = np.cos(2 * np.pi * np.interp(s, middles, np.arange(len(middles))))
        sacral = np.clip((s - spine.sac_end + 30) / 40, 0.25, 1.0)
        self._room = (17.5 + 3.0 * between) * size * sacral
        self._bulge = np.zeros_like(s)
        for disc in spine.discs:
            half = (disc.high - disc.low) / 2 + 2.5
            self._bulge += max(disc.bulge, 0.0) * np.exp(-(((s - (disc.low + disc.high) / 2) / half) ** 2))
        lumbar = np.clip((s - spine.sac_end) / 90.0, 0.0, 1.0)
        taper = np.sqrt(np.clip((s - spine.sac_end) / 30.0, 0.0, 1.0))
        stout = rng.normal(1.0, 0.07) * size
        self._depth = (5.6 + 2.0 * lumbar) * stout * taper
        self._width = np.maximum((7.5 + 2.0 * lumbar) * stout * taper, 0.6)
        self._gap = 1.6 + np.exp(-(((s + 12.0) / 18.0) ** 2)) * rng.uniform(1.0, 5.0) * size
        self._label_end = spine.sacrum[0].low + rng.uniform(-4.0, 14.0)
        self._paths = rng.uniform(-1, 1, (_ROOTS, 2)), rng.uniform(0, 6.3, (_ROOTS, 2))
        self._cord_lies = rng.uniform(-0.5, 1.5)

    def textures(self, u: float) -> tuple[Array, Array]:
        """Texture of fat and of flowing fluid in the slice at `u` (mm)."""
        s, t = self._patch.s, self._patch.t
        return self._texture(u, s, t, (5, 2.5, 2.5), 6), self._texture(u, s, t, (6, 14, 3), 7)

    def paint(self, canvas: Canvas, u: float, textures: tuple[Array, Array]) -> None:
        """Paint the canal of the slice at `u` (mm, left positive)."""
        look, spine = self._look, self._spine
        s, t, at = self._patch.s, self._patch.t, self._patch.at
        off = u - self._side
        lateral = np.abs(off)
        fatty, flow = textures
        wide = np.clip(1.2 - (lateral / (24 * spine.size)) ** 4, 0.0, 1.0)
        behind = t - self._back
        hole = np.minimum(np.minimum(behind + 3.5, self._room * wide - behind), s - spine.sac_end + 34)
        canvas.blend(at, -1.2 - hole, look.ligament)
        canvas.blend(at, -hole, look.fat * (0.85 + 0.08 * fatty))
        if lateral.size and lateral.max() > 10.5:
            for v in spine.vertebrae:
                root = np.hypot((s - v.low - 3.0) / 3.2, (behind - 6.0 * spine.size) / 2.6) - 1
                near = (root < 1) & (lateral > 10.5)
                canvas.blend(at[near], 2.6 * root[near], 0.5 * look.cord + 0.1 * look.fat)
        bulge = self._bulge * np.exp(-((off / 13.0) ** 2))
        depth = np.maximum(self._depth - 0.4 * bulge, 0.6)
        centre = self._back + self._gap + depth + 0.7 * bulge
        sac = (np.hypot((t - centre) / depth, off / self._width) - 1.0) * np.minimum(depth, self._width)
        canvas.blend(at, sac - 0.7, look.ligament)
        canvas.blend(at, sac, 1.0 - 0.04 * flow)
        inside = sac < 0
        canvas.label(at[inside & (s > self._label_end)], CANAL)
        self._paint_cord(canvas, off, centre, depth, inside)

    def _paint_cord(self, canvas: Canvas, off: Array, centre: Array, depth: Array, inside: NDArray[np.bool_]) -> None:
        """The cord down to its conus, and the roots around and below it, lying toward the back of the sac."""
        s, t, at = self._patch.s[inside], self._patch.t[inside], self._patch.at[inside]
        off, centre, depth, width = off[inside], centre[inside], depth[inside], self._width[inside]
        above = s - self._spine.conus
        radius = 4.4 * self._spine.size * np.clip(above / 30.0, 0.0, 1.0) ** 0.7
        lies = centre + self._cord_lies + (1 - np.clip(above / 40.0, 0.0, 1.0)) * 0.25 * depth
        dark = np.zeros_like(s)
        below = 30.0 - above
        spread = np.clip(below / 60.0, 0.15, 1.0)
        for (p, q), (f, g) in zip(*self._paths, strict=True):
            # Roots leave one after the other: fewer remain lower down.
            path = centre + depth * (0.38 + 0.42 * p * spread + 0.09 * np.sin(s / 9 + f))
            across = off - width * (0.62 * q * spread + 0.08 * np.sin(s / 14 + g))
            near = ((t - path) ** 2 + 0.25 * across**2) * (1 / 0.75**2)
            dark = np.maximum(dark, np.clip(1.2 - near, 0.0, 1.0) * (below > 0) * (below < 60 + 150 * abs(q)))
        canvas.image[at] *= 1.0 - 0.55 * dark
        cord = np.hypot(t - lies, off / 1.25) - radius
        canvas.blend(at, np.where(above > 0, cord, 9.0), self._look.cord)
