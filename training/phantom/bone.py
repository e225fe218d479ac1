"""Vertebral bodies, sacrum and posterior elements."""

from __future__ import annotations

import numpy as np

from training.phantom.anatomy import Array, Vertebra
from training.phantom.look import Look, Texture
from training.phantom.plane import Arch, Canvas, Index, Plane, cover

__all__ = ["VERTEBRA", "Bone", "rounded"]

VERTEBRA = 2


def rounded(depth1: Array, depth2: Array, radius: float | Array) -> Array:
    """Signed distance of a rounded box from the depths inside its two pairs of sides, all in mm."""
    a, b = radius - depth1, radius - depth2
    out: Array = np.minimum(np.maximum(a, b), 0.0) + np.hypot(np.maximum(a, 0.0), np.maximum(b, 0.0)) - radius
    return out


def _blob(arch: Arch, at: tuple[float, float], half: tuple[float, float], turn: float, across: float) -> Array | None:
    """Signed distance of a squarish ellipse in an arch's frame, narrowed with the share `across` it."""
    fit = 1.0 - across**4
    if fit <= 0.05:
        return None
    k, c, d = arch.scale, np.cos(turn), np.sin(turn)
    a, h = arch.a - at[0] * k, arch.h - at[1] * k
    x, y = (a * c - h * d) / (half[0] * k * fit), (a * d + h * c) / (half[1] * k * fit)
    x2, y2 = x * x, y * y
    q = np.sqrt(np.sqrt(x2 * x2 + y2 * y2 + x2 * y2))
    out: Array = (q - 1.0) * min(half) * k * fit
    return out


class Bone:
    """Paints bone; textures are sampled once a slice over all pixels near the spine."""

    def __init__(self, plane: Plane, look: Look, texture: Texture, rng: np.random.Generator) -> None:
        """Find the pixels near each bone and draw each endplate's changes."""
        self._plane, self._look, self._texture = plane, look, texture
        spine = plane.spine
        self._bodies = [(plane.patch(v.low - 4, v.high + 4, -32, 34), v) for v in spine.vertebrae + spine.sacrum]
        self._arches = [plane.arch(i, v, rng) for i, v in enumerate(spine.vertebrae)]
        self._region = np.flatnonzero((plane.t > -32) & (plane.t < 84))
        # Marrow beside a worn disc may turn bright (Modic types I and II on T2).
        changed = rng.choice([0.0, 0.0, 0.0, 0.5, 0.9], (len(spine.discs), 2))
        self._changes = {
            edge: float(changed[i, j])
            for i, disc in enumerate(spine.discs)
            for j, edge in enumerate((disc.low, disc.high))
            if disc.grade >= 4 and changed[i, j]
        }
        self._vein = rng.uniform(0.0, 0.7, len(self._bodies))

    def textures(self, u: float) -> tuple[Array, Array]:
        """Marrow signal and ripple of the walls in the slice at `u` (mm), both over the whole plane, flat."""
        at, plane = self._region, self._plane
        y, z = plane.y[at], plane.z[at]
        grain = self._texture(u, y, z, (2.5, 0.9, 0.9), 9)
        slow = self._texture(u, y, z, (9, 6, 6), 10)
        marrow, ripple = np.zeros(plane.y.size), np.zeros(plane.y.size)
        marrow[at] = self._look.marrow * np.clip(1.0 + self._look.grain * (grain + 0.9 * slow), 0.4, 2.2)
        ripple[at] = 0.4 * slow
        return marrow, ripple

    def paint_arches(self, canvas: Canvas, u: float, textures: tuple[Array, Array]) -> None:
        """Paint the posterior elements of all vertebrae at `u` (mm)."""
        for arch in self._arches:
            if arch.at.size:
                self._paint_arch(canvas, arch, u, *textures)

    def _paint_arch(self, canvas: Canvas, arch: Arch, u: float, marrow: Array, ripple: Array) -> None:
        k = arch.scale
        side = abs(u - float(self._plane.side[arch.at].mean())) / k
        middle, joint, pedicle = side / 5.0, (side - 16.5) / 6.5, (side - 14.5) / 5.5
        parts = [
            _blob(arch, (32.5, -11.0), (12.5, 9.0), arch.tilt, middle),
            _blob(arch, (20.5 - 0.3 * side, -8.0 + 0.2 * side), (3.8, 9.5), -0.25, side / 16.0),
            _blob(arch, (14.0, -6.0), (5.5, 12.0), 0.2, joint),
            _blob(arch, (17.0, -20.0), (5.0, 10.0), 0.0, joint),
            _blob(arch, (10.0, 11.0), (4.5, 9.0), 0.3, joint),
            _blob(arch, (4.0, 6.0), (11.0, 7.5), 0.0, pedicle),
            _blob(arch, (11.0, 3.0), (4.0, 6.0), 0.0, (side - 30.0) / 12.0),
        ]
        shown = [part for part in parts if part is not None]
        if not shown:
            return
        bone = np.minimum.reduce(shown)
        near = bone < 2.0
        at = arch.at[near]
        bone = bone[near] + 1.5 * ripple[at]
        canvas.blend(at, bone - 0.9, self._look.cortex)
        canvas.blend(at, bone + 0.2, marrow[at] * 1.05)
        canvas.label(at[bone < -0.2], VERTEBRA)

    def paint_bodies(self, canvas: Canvas, u: float, textures: tuple[Array, Array]) -> None:
        """Paint vertebral and sacral bodies at `u` (mm)."""
        for number, (patch, v) in enumerate(self._bodies):
            off = np.abs(u - self._plane.side[patch.at]) / v.width
            keep = off < 0.995
            if not keep.any():
                continue
            s, t, at, off = patch.s[keep], patch.t[keep], patch.at[keep], off[keep]
            if v.sacral:
                bone = self._sacral(v, s, t, at, off)
                marrow = textures[0][at] * 1.1
                canvas.blend(at, bone - 0.3, self._look.cortex)
                canvas.blend(at, bone + 0.8, marrow)
            else:
                bone = self._body(v, s, t - v.shift, off, textures[1][at])
                marrow = self._dress(v, s, t, off, textures[0][at], float(self._vein[number]))
                canvas.blend(at, bone - 0.4, self._look.cortex)
                canvas.blend(at, bone + self._look.rim_mm, marrow)
                canvas.label(at[bone < -self._look.rim_mm], VERTEBRA)

    @staticmethod
    def _body(v: Vertebra, s: Array, t: Array, off: Array, ripple: Array) -> Array:
        hn = np.clip((2 * s - v.low - v.high) / (v.high - v.low), -1.3, 1.3)
        waist = v.waist * np.clip(1 - hn**2, 0, 1)
        lip = v.lip * np.clip((np.abs(hn) - 0.72) / 0.28, 0, 1) ** 2
        front = v.depth * np.sqrt(1 - off**2.4) - waist + lip + ripple
        back = v.depth * (1 - off**8) - waist * 0.9 + 0.3 * lip + ripple
        dome = np.clip(1 - ((t - 1.5) / (v.depth + 1)) ** 2, 0, 1) * (1 - off**4)
        low, high = v.low + v.sag_low * dome, v.high - v.sag_high * dome
        return rounded(np.minimum(s - low, high - s), np.minimum(t + front, back - t), 2.0)

    def _sacral(self, v: Vertebra, s: Array, t: Array, at: Index, off: Array) -> Array:
        narrow = np.sqrt(1 - off**4)
        dome = np.clip(1 - (t / (v.depth + 1)) ** 2, 0, 1) * (1 - off**4)
        walls = np.minimum(t + self._plane.front[at] * narrow, self._plane.back[at] * narrow - t)
        return rounded(np.minimum(s - v.low, v.high - v.sag_high * dome - s), walls, 1.2)

    def _dress(self, v: Vertebra, s: Array, t: Array, off: Array, marrow: Array, vein: float) -> Array:
        """Marrow with the basivertebral vein and with changes beside worn discs."""
        bright = vein * np.exp(-(((t - v.depth + 4) / 5.0) ** 2) - ((s - (v.low + v.high) / 2) / 1.4) ** 2)
        out: Array = marrow * (1 + bright * np.exp(-((off * v.width / 6) ** 2)))
        for edge in (v.low, v.high):
            if edge in self._changes:
                out = out * (1 + self._changes[edge] * np.exp(-np.abs(s - edge) / 4.0) * cover(-t - 2, 4.0))
        return out
