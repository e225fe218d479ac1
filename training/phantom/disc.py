"""Discs, by Pfirrmann grade (Pfirrmann et al., Spine 26(17):1873, 2001)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.phantom.anatomy import Array, Disc
from training.phantom.bone import rounded
from training.phantom.look import Look, Texture
from training.phantom.plane import Canvas, Patch, Plane, cover

__all__ = ["DISC", "Discs"]

DISC = 1


@dataclass(frozen=True)
class _Looks:
    """What a grade does to the inside of a disc."""

    border: float  # softness between nucleus and annulus, relative to the disc's half depth
    lumps: float  # unevenness of the nucleus
    fray: float  # unevenness of its border
    cleft: float  # depth of the dark horizontal band
    rough: float  # irregularity of the endplates, mm


_LOOKS = (
    _Looks(0.05, 0.03, 0.02, 0.0, 0.15),  # I: homogeneous, bright
    _Looks(0.06, 0.10, 0.05, 0.45, 0.15),  # II: a dark band in a bright nucleus, clear border
    _Looks(0.11, 0.18, 0.12, 0.35, 0.30),  # III: grey, unclear border
    _Looks(0.17, 0.25, 0.20, 0.10, 0.50),  # IV: dark grey, border lost
    _Looks(0.24, 0.40, 0.30, 0.0, 0.80),  # V: black, collapsed
)


class Discs:
    """Paints discs."""

    def __init__(self, plane: Plane, look: Look, texture: Texture, rng: np.random.Generator) -> None:
        """Find the pixels near each disc and draw its cleft and gas."""
        self._plane, self._look, self._texture = plane, look, texture
        discs = plane.spine.discs
        self._discs = [(plane.patch(d.low - 5, d.high + 5, -32, 34), d) for d in discs]
        self._cleft = rng.uniform(-0.2, 0.2, len(discs))
        self._gas = rng.random(len(discs)) < 0.5
        self._wet = rng.uniform(0.85, 1.1, len(discs))

    def textures(self, u: float) -> list[tuple[Array, Array]]:
        """Roughness of the endplates and unevenness of each disc in the slice at `u` (mm)."""
        return [
            (self._texture(u, p.s * 0.3, p.t, (5, 5, 3.5), 12), self._texture(u, p.s, p.t, (5, 2.2, 3.5), 13))
            for p, _ in self._discs
        ]

    def paint(self, canvas: Canvas, u: float, textures: list[tuple[Array, Array]]) -> None:
        """Paint all discs at `u` (mm); the dark lines of the bony endplates belong to neither disc nor vertebra."""
        for number, ((patch, disc), texture) in enumerate(zip(self._discs, textures, strict=True), start=1):
            if patch.at.size:
                self._paint(canvas, patch, disc, number, u, texture)

    def _paint(
        self, canvas: Canvas, patch: Patch, disc: Disc, number: int, u: float, texture: tuple[Array, Array]
    ) -> None:
        off = np.abs(u - self._plane.side[patch.at]) / disc.width
        keep = off < 0.995
        s, t, at, off = patch.s[keep], patch.t[keep] - disc.shift, patch.at[keep], off[keep]
        rough, lumps = texture[0][keep] * _LOOKS[disc.grade - 1].rough, texture[1][keep]
        front = disc.front * np.sqrt(1 - off**2.4)
        back = disc.back * (1 - off**6)
        dome = np.clip(1 - ((t - 1.5) / (disc.front + 1)) ** 2, 0, 1) * (1 - off**4)
        low, high = disc.low - disc.sag_low * dome + rough, disc.high + disc.sag_high * dome + 0.6 * rough
        half = np.maximum((high - low) / 2, 0.4)
        body = rounded(np.minimum(s - low, high - s), np.minimum(t + front, back - t), np.minimum(half, 2.5))
        canvas.blend(at, body, self._signal(number - 1, disc, t, (s - (low + high) / 2) / half, off, lumps))
        canvas.label(at[body < 0], DISC, number)

    def _signal(self, index: int, disc: Disc, t: Array, eta: Array, off: Array, lumps: Array) -> Array:
        """Signal within a disc; `eta` runs from -1 at its lower to 1 at its upper surface."""
        g = disc.grade - 1
        grade = _LOOKS[g]
        depth = (disc.front + disc.back) / 2
        tn = (t - 0.08 * depth) / depth
        r = np.sqrt((tn / 0.68) ** 2 + (off / 0.75) ** 2 + (np.abs(eta) / 0.92) ** 4)
        nucleus = cover(1.0 - r + grade.fray * lumps, grade.border)
        core = self._look.nucleus[g] * self._wet[index] * (1 + grade.lumps * lumps)
        centre = cover(0.62 - np.abs(tn), 0.08)
        core = core * (1 - grade.cleft * centre * np.exp(-(((eta - self._cleft[index]) / 0.22) ** 2)))
        # The inner annulus is wetter than the outer, whose fibres merge with the ligaments.
        ring = self._look.annulus[g] * (1 + 0.25 * lumps) * (1.35 - 0.8 * cover(np.abs(tn) - 0.86, 0.04))
        signal = ring + nucleus * (core - ring)
        if disc.grade == 5 and self._gas[index]:
            signal = signal * (1 - 0.8 * centre * np.exp(-((eta / 0.4) ** 2)))
        out: Array = np.maximum(signal, 0.0)
        return out
