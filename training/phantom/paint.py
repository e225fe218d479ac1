"""Paint one sagittal slice of the phantom, and its labels, from the continuous anatomy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from training.phantom.anatomy import Array, Disc, Spine, Vertebra
from training.phantom.look import Look, Texture

__all__ = ["Painter"]

Index = NDArray[np.intp]
_DISC, _VERTEBRA, _CANAL = 1, 2, 3


def _rounded(q1: Array, q2: Array, radius: float | Array) -> Array:
    """Signed distance of a rounded box from the depths inside its two pairs of sides."""
    a, b = radius - q1, radius - q2
    return np.minimum(np.maximum(a, b), 0.0) + np.hypot(np.maximum(a, 0.0), np.maximum(b, 0.0)) - radius


def _step(x: Array, width: float) -> Array:
    """0 below, 1 above, soft over `width`."""
    out: Array = 0.5 + 0.5 * np.tanh(x / width)
    return out


@dataclass(frozen=True)
class _Patch:
    """Pixels near one structure and their spine coordinates."""

    at: Index
    s: Array
    t: Array


@dataclass(frozen=True)
class _Arch:
    """Pixels near one vertebra's posterior elements in its own rigid frame: a backward from the centre, h upward."""

    at: Index
    a: Array
    h: Array
    back: float
    scale: float
    tilt: float
    size: float


class Painter:
    """Paints slices on a fixed in-plane grid (posterior y, superior z, in mm)."""

    def __init__(self, spine: Spine, look: Look, y: Array, z: Array, pixel: float, rng: np.random.Generator) -> None:
        """Work out all that is the same in every slice.

        Args:
            spine: The anatomy.
            look: Signals.
            y: Posterior position of every pixel, shape (rows, columns).
            z: Superior position, same shape.
            pixel: Pixel size, mm; edges are soft over it.
            rng: Source of textures and of details not in `spine`.
        """
        self.spine, self.look, self.pixel = spine, look, pixel
        self.shape = y.shape
        self.y, self.z = y.ravel(), z.ravel()
        self.s, self.t = spine.coordinates(self.y, self.z)
        self.texture = Texture(rng)
        self.front, self.back = self._walls()
        self.side = np.interp(self.s, spine.s, spine.side)
        self._skin = self._skin_depth(rng)
        self._belly = self.y - (rng.normal(-135.0, 18.0) * spine.size + 12 * np.cos(self.z / 80))
        self._discs = [self._patch(d.low - 5, d.high + 5, -32, 34) for d in spine.discs]
        self._bodies = [self._patch(v.low - 4, v.high + 4, -32, 34) for v in spine.vertebrae + spine.sacrum]
        self._canal = self._patch(spine.sac_end - 30, spine.s[-1], 0, 48)
        self._near = self._patch(spine.s[0], spine.s[-1], -60, 48)
        self._arches = [self._arch(i, v, rng) for i, v in enumerate(spine.vertebrae)]
        self._bulge_at = self._bulges(self._canal.s)
        self._modic = rng.choice([0.0, 0.0, 0.0, 0.5, 0.9], (len(spine.discs), 2))
        self._strands = rng.uniform(-1, 1, (26, 2)), rng.uniform(0, 6.3, (26, 2))
        self._cleft = rng.uniform(-0.2, 0.2, len(spine.discs))
        self._vacuum = rng.random(len(spine.discs)) < 0.5

    # -- geometry that does not depend on the slice -------------------------------------------------------------------

    def _patch(self, s0: float, s1: float, t0: float, t1: float) -> _Patch:
        at = np.flatnonzero((self.s > s0) & (self.s < s1) & (self.t > t0) & (self.t < t1))
        return _Patch(at, self.s[at], self.t[at])

    def _walls(self) -> tuple[Array, Array]:
        """Smooth front and back wall of the column at every pixel's s (half depths)."""
        bodies = [*self.spine.sacrum[::-1], *self.spine.vertebrae]
        middles = [(v.low + v.high) / 2 for v in bodies]
        front = np.interp(self.spine.s, middles, [v.depth - v.shift for v in bodies])
        back = np.interp(self.spine.s, middles, [v.depth + v.shift for v in bodies])
        self._front_line, self._back_line = (gaussian_filter1d(w, 12.0) for w in (front, back))
        return np.interp(self.s, self.spine.s, self._front_line), np.interp(self.s, self.spine.s, self._back_line)

    def _skin_depth(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Distance of every pixel behind the fascia and behind the skin (negative: in front of it)."""
        spine = self.spine
        reach = np.interp(spine.s, (-90, -40, 0, 40, 120, 250), (16, 24, 42, 54, 58, 48)) * spine.size
        y = spine.curve[:, 0] + reach * np.cos(spine.lean)
        z = spine.curve[:, 1] + reach * np.sin(spine.lean)
        levels = np.arange(-220.0, 330.0, 2.0)
        order = np.argsort(z)
        fascia = gaussian_filter1d(np.interp(levels, z[order], gaussian_filter1d(y[order], 12.0)), 9.0)
        thick = self.look.fat_thickness * (1.0 + rng.uniform(0.2, 0.9) * np.exp(-(((levels + 70) / 60) ** 2)))
        wave = gaussian_filter1d(rng.normal(0, 1, levels.size), 6.0) * 4.0
        behind = self.y - np.interp(self.z, levels, fascia)
        return behind, behind - np.interp(self.z, levels, thick + wave)

    def _bulges(self, s: Array) -> Array:
        out = np.zeros_like(s)
        for disc in self.spine.discs:
            middle, half = (disc.low + disc.high) / 2, (disc.high - disc.low) / 2 + 2.5
            out += max(disc.bulge, 0.0) * np.exp(-(((s - middle) / half) ** 2))
        return out

    def _arch(self, index: int, v: Vertebra, rng: np.random.Generator) -> _Arch:
        spine = self.spine
        middle = (v.low + v.high) / 2
        y, z = spine.at(middle)
        lean = float(np.interp(middle, spine.s, spine.lean))
        a = (self.y - y) * np.cos(lean) + (self.z - z) * np.sin(lean)
        h = (self.z - z) * np.cos(lean) - (self.y - y) * np.sin(lean)
        scale = spine.size * (0.78, 0.95, 1.0, 1.0, 0.95, 0.88, 0.8, 0.75, 0.75, 0.75)[index] * rng.normal(1.0, 0.05)
        at = np.flatnonzero((a > 4) & (a < 75) & (h > -42) & (h < 30))
        tilt = np.radians((14, 10, 8, 8, 10, 16, 26, 38, 45, 50)[index] + rng.normal(0, 4))
        return _Arch(at, a[at], h[at], v.depth + v.shift, float(scale), float(tilt), (v.high - v.low) / 2)

    # -- painting -----------------------------------------------------------------------------------------------------

    def _blend(self, image: Array, at: Index, distance: Array, value: float | Array, soft: float = 1.0) -> None:
        cover = np.clip(0.5 - distance / (self.pixel * soft), 0.0, 1.0)
        image[at] += cover * (value - image[at])

    def slice(self, u: float) -> tuple[Array, NDArray[np.uint8], NDArray[np.uint8]]:
        """Paint the slice at sideways position `u` (mm, left positive).

        Returns:
            Signal (float64), tissue labels and disc numbers (1 = L5/S1; uint8), each of shape (rows, columns).
        """
        image = self._soft_tissue(u)
        labels = np.zeros(image.shape, np.uint8)
        instances = np.zeros(image.shape, np.uint8)
        self._paint_canal(image, labels, u)
        for arch in self._arches:
            self._paint_arch(image, labels, arch, u)
        for patch, body in zip(self._bodies, self.spine.vertebrae + self.spine.sacrum, strict=True):
            self._paint_body(image, labels, patch, body, u)
        for number, (patch, disc) in enumerate(zip(self._discs, self.spine.discs, strict=True), start=1):
            self._paint_disc(image, labels, instances, patch, disc, number, u)
        return image.reshape(self.shape), labels.reshape(self.shape), instances.reshape(self.shape)

    def _soft_tissue(self, u: float) -> Array:
        look, tex = self.look, self.texture
        y, z, s, t = self.y, self.z, self.s, self.t
        behind_fascia, behind_skin = self._skin
        # Abdomen: organs and bowel among fat.
        blobs = tex(u, y, z, (14, 13, 16), 1)
        fine = tex(u, y, z, (6, 2.5, 3.0), 2)
        image = look.organ * (1 + 0.12 * fine) + (0.75 * look.fat - look.organ) * _step(blobs - 0.35, 0.12)
        image += (look.vessel - image) * _step(-blobs - 1.3, 0.08)
        # Retroperitoneal fat with small vessels, great vessels, psoas.
        gap = -t - self.front
        image += (0.6 * look.fat * (1 + 0.25 * fine) - image) * _step(7.0 + 2.5 * blobs - gap, 1.5) * (gap > -20)
        for centre, radius, end in ((9.0, 9.0, 42.0), (-13.0, 10.0, 34.0)):
            half = radius**2 - (u - self.side - centre) ** 2
            tube = np.sqrt(np.maximum(half, 0.0)) - np.abs(gap - radius - 3.5)
            image += (look.vessel * (1 + 0.5 * fine) - image) * _step(np.where(half > 0, tube, -5), 0.5) * _step(s - end, 4)
        lateral = np.abs(u - self.side)
        psoas = np.hypot((t + 2) / 24, (lateral - 44) / 21) - 1
        image += (look.muscle * (1 + 0.25 * fine) - image) * _step(-psoas, 0.05) * (s > -40)
        # Behind the canal: muscle with fatty streaks, at the midline ligaments and fat.
        streak = tex(u, s, t, (5, 16, 1.7), 3)
        patchy = tex(u, y, z, (5, 3.5, 3.0), 4)
        muscle = look.muscle * (1 + 0.3 * streak) + 0.55 * look.fat * _step(streak + 0.4 * patchy - 1.6, 0.25)
        middle = look.ligament * 1.5 + (0.75 * look.fat) * _step(patchy + 0.3 * streak - 0.35, 0.35)
        midline = np.exp(-((lateral / 7.0) ** 4))
        image += (muscle + (middle - muscle) * midline - image) * _step(t - self.back - 4, 1.0)
        # Fascia, fat under the skin, skin, air.
        septa = np.abs(tex(u, y + 0.4 * z, z, (8, 6, 14), 5))
        fat = look.fat * (1.0 - 0.35 * np.exp(-((septa / 0.05) ** 2)))
        image += (look.ligament - image) * np.exp(-((behind_fascia / 1.3) ** 2))
        image += (fat - image) * _step(behind_fascia - 1.5, 0.5)
        image += (0.35 * look.fat - image) * np.exp(-(((behind_skin + 1.0) / 0.9) ** 2))
        image *= _step(-behind_skin, 0.4)
        image += (fat - image) * _step(-self._belly + 14, 2.0)
        image *= _step(self._belly, 0.6)
        return image

    def _paint_canal(self, image: Array, labels: NDArray[np.uint8], u: float) -> None:
        look, spine, patch = self.look, self.spine, self._canal
        s, t, at = patch.s, patch.t, patch.at
        off = u - self.side[at]
        back = self.back[at]
        size = spine.size
        lateral = np.abs(off)
        # Epidural and foraminal fat; deepest behind, between the laminae, and in front of S1.
        room = (18.0 + 2.5 * self._bulges_of_arches(s)) * size
        wide = np.clip(1.2 - (lateral / (24 * size)) ** 4, 0.0, 1.0)
        fat = look.fat * (0.8 + 0.08 * self.texture(u, s, t, (5, 2.5, 2.5), 6))
        bony = np.minimum(t - back, back + room * wide - t)
        self._blend(image, at, -np.minimum(bony, s - spine.sac_end + 28), fat)
        # Nerve roots below each pedicle.
        for v in spine.vertebrae:
            root = np.hypot((s - v.low - 3.0) / 3.2, (t - back - 6.0 * size) / 2.6) - 1
            self._blend(image, at[lateral > 10.5], 2.6 * root[lateral > 10.5], 0.5 * look.cord + 0.1 * look.fat)
        # Dural sac.
        lumbar = np.clip((s - spine.sac_end) / 90.0, 0.0, 1.0)
        taper = np.sqrt(np.clip((s - spine.sac_end) / 30.0, 0.0, 1.0))
        depth = (5.8 + 1.9 * lumbar) * size * taper
        width = (7.5 + 2.0 * lumbar) * size * taper
        sacral = np.exp(-(((s + 12.0) / 18.0) ** 2)) * 3.0 * size
        bulge = self._bulge_at * np.exp(-((off / 13.0) ** 2))
        depth = np.maximum(depth - 0.35 * bulge, 0.6)
        centre = back + 1.6 + sacral + depth + 0.7 * bulge
        width = np.maximum(width, 0.6)
        q = np.hypot((t - centre) / depth, off / width)
        sac = (q - 1.0) * np.minimum(depth, width)
        flow = 1.0 - 0.05 * self.texture(u, s, t, (6, 14, 3), 7)
        self._blend(image, at, sac - 0.7, look.ligament)
        self._blend(image, at, sac, flow)
        inside = sac < 0
        labels[at[inside & (s > spine.sacrum[0].low + 6)]] = _CANAL
        # Cord down to the conus, then the roots of the cauda equina, lying toward the back of the sac.
        above = s - spine.conus
        radius = 4.3 * size * np.sqrt(np.clip(above / 28.0, 0.0, 1.0))
        cord = np.hypot(t - centre - 0.6, off / 1.25) - radius
        self._blend(image, at, np.where(above > 0, cord, 9.0), look.cord * (1 + 0.04 * self.texture(u, s, t, (4, 6, 2), 8)))
        self._paint_roots(image, patch, off, (centre, depth, width), inside)

    def _paint_roots(
        self, image: Array, patch: _Patch, off: Array, sac: tuple[Array, Array, Array], inside: NDArray[np.bool_]
    ) -> None:
        keep = inside & (patch.s < self.spine.conus + 25)
        s, t, o = patch.s[keep], patch.t[keep], off[keep]
        centre, depth, width = (w[keep] for w in sac)
        below = self.spine.conus + 25 - s
        spread = np.clip(below / 60.0, 0.15, 1.0)
        dark = np.zeros_like(s)
        for (p, q), (f, g) in zip(*self._strands, strict=True):
            # Roots leave one after the other: fewer remain lower down.
            leaves = 60.0 + 150.0 * abs(q)
            tj = centre + depth * (0.38 + 0.42 * p * spread + 0.06 * np.sin(s / 11 + f))
            oj = width * (0.62 * q * spread + 0.08 * np.sin(s / 14 + g))
            near = np.hypot(t - tj, 0.5 * (o - oj)) / 0.75
            dark = np.maximum(dark, np.exp(-(near**2)) * (below < leaves))
        image[patch.at[keep]] *= 1.0 - 0.5 * dark

    def _bulges_of_arches(self, s: Array) -> Array:
        """1 at the discs, -1 at the middle of the bodies: where fat shows between the laminae."""
        edges = [(d.low + d.high) / 2 for d in self.spine.discs]
        phase = np.interp(s, edges, np.arange(len(edges)))
        out: Array = np.cos(2 * np.pi * phase)
        return out

    def _marrow(self, u: float, at: Index) -> Array:
        grain = self.texture(u, self.y[at], self.z[at], (2.5, 0.9, 0.9), 9)
        slow = self.texture(u, self.y[at], self.z[at], (9, 7, 7), 10)
        out: Array = self.look.marrow * np.clip(1.0 + self.look.grain * (grain + 0.8 * slow), 0.4, 2.0)
        return out

    def _paint_arch(self, image: Array, labels: NDArray[np.uint8], arch: _Arch, u: float) -> None:
        k = arch.scale
        at, a, h = arch.at, arch.a - arch.back, arch.h
        off = np.abs(u - self.side[at])
        side = float(off.mean()) if off.size else 0.0
        parts: list[Array] = []

        def blob(a0: float, h0: float, ra: float, rh: float, turn: float, across: float, power: float = 2.0) -> None:
            # A superellipse in (a, h), narrowed by its distance `across` from its own middle (1 at its edge).
            fit = np.sqrt(max(0.0, 1.0 - across**2))
            if fit < 0.2:
                return
            c, d = np.cos(turn), np.sin(turn)
            x, w = (a - a0 * k) * c - (h - h0 * k) * d, (a - a0 * k) * d + (h - h0 * k) * c
            q = (np.abs(x / (ra * k * fit)) ** power + np.abs(w / (rh * k * fit)) ** power) ** (1 / power)
            parts.append((q - 1.0) * min(ra, rh) * k * fit)

        blob(35.0, -11.0, 14.5, 9.0, arch.tilt, side / (5.5 * k), 2.8)
        if side < 15 * k:
            blob(21.0 - 0.3 * side, -8.0 + 0.2 * side, 3.8, 10.0, -0.25, side / (17 * k))
        articular = (side - 16.5 * k) / (6.5 * k)
        if abs(articular) < 1:
            blob(14.0, -6.0, 5.5, 12.0, 0.2, articular)
            blob(17.0, -20.0, 5.0, 10.0, 0.0, articular)
            blob(10.0, 11.0, 4.5, 9.0, 0.3, articular)
        pedicle = (side - 14.5 * k) / (5.5 * k)
        if abs(pedicle) < 1:
            blob(4.0, 6.0, 11.0, 7.5, 0.0, pedicle, 3.0)
        if side > 19 * k:
            blob(11.0, 3.0, 4.0, 6.0, 0.0, 0.0)
        if not parts:
            return
        bone = np.minimum.reduce(parts)
        near = bone < 2.0
        at, bone = at[near], bone[near]
        self._blend(image, at, bone - 0.8, self.look.cortex)
        self._blend(image, at, bone + 0.3, self._marrow(u, at) * 1.05)
        inside = bone < -0.3
        labels[at[inside]] = _VERTEBRA

    def _paint_body(self, image: Array, labels: NDArray[np.uint8], patch: _Patch, v: Vertebra, u: float) -> None:
        off = (u - self.side[patch.at]) / v.width
        keep = np.abs(off) < 0.995
        s, t, at, off = patch.s[keep], patch.t[keep] - v.shift, patch.at[keep], np.abs(off[keep])
        hn = np.clip((2 * s - v.low - v.high) / (v.high - v.low), -1.3, 1.3)
        waist = v.waist * np.clip(1 - hn**2, 0, 1)
        lip = v.lip * np.clip((np.abs(hn) - 0.72) / 0.28, 0, 1) ** 2
        ripple = 0.35 * self.texture(u, s, t, (6, 5, 5), 11)
        front = v.depth * (1 - off**2.4) ** (1 / 2.4) - waist + lip + ripple
        back = v.depth * (1 - off**5) ** (1 / 5) - waist * 0.9 + 0.3 * lip + ripple
        dome = np.clip(1 - ((t - 1.5) / (v.depth + 1)) ** 2, 0, 1) * (1 - off**4)
        low, high = v.low + v.sag_low * dome, v.high - v.sag_high * dome
        bone = _rounded(np.minimum(s - low, high - s), np.minimum(t + front, back - t), 2.0)
        cortex = 0.7
        self._blend(image, at, bone - 0.5, self.look.cortex)
        marrow = self._marrow(u, at)
        if v.sacral:
            marrow = marrow * 1.12
        vein = np.hypot((back - t - 3.0) / 5.0, (s - (low + high) / 2) / 1.3)
        marrow = marrow * (1 + 0.5 * np.exp(-(vein**2)) * np.exp(-((off * v.width / 6) ** 2)))
        for i, disc in enumerate(self.spine.discs):
            if disc.grade >= 4:
                for j, edge in enumerate((disc.low, disc.high)):
                    if abs(edge - (v.high, v.low)[j]) < 0.01 and self._modic[i, j]:
                        marrow = marrow * (1 + self._modic[i, j] * np.exp(-np.abs(s - edge) / 4.0) * _step(-t - 2, 6.0))
        self._blend(image, at, bone + cortex, marrow)
        if not v.sacral:
            labels[at[bone < -cortex]] = _VERTEBRA

    def _paint_disc(
        self,
        image: Array,
        labels: NDArray[np.uint8],
        instances: NDArray[np.uint8],
        patch: _Patch,
        disc: Disc,
        number: int,
        u: float,
    ) -> None:
        look, grade = self.look, disc.grade
        off = np.abs(u - self.side[patch.at]) / disc.width
        keep = off < 0.995
        s, t, at, off = patch.s[keep], patch.t[keep] - disc.shift, patch.at[keep], off[keep]
        front = disc.front * (1 - off**2.4) ** (1 / 2.4)
        back = disc.back * (1 - off**4) ** (1 / 4)
        dome = np.clip(1 - ((t - 1.5) / (disc.front + 1)) ** 2, 0, 1) * (1 - off**4)
        rough = (0.15, 0.15, 0.3, 0.5, 0.8)[grade - 1] * self.texture(u, s * 0.3, t, (5, 5, 3.5), 12)
        low, high = disc.low - disc.sag_low * dome + rough, disc.high + disc.sag_high * dome + 0.6 * rough
        half = np.maximum((high - low) / 2, 0.4)
        body = _rounded(np.minimum(s - low, high - s), np.minimum(t + front, back - t), np.minimum(half, 2.5))
        self._blend(image, at, body, self._disc_signal(u, number, s, t, (s - (low + high) / 2) / half, off, disc))
        # The dark line of the bony endplate belongs to neither disc nor vertebra.
        inside = body < 0
        labels[at[inside]] = _DISC
        instances[at[inside]] = number

    def _disc_signal(self, u: float, number: int, s: Array, t: Array, eta: Array, off: Array, disc: Disc) -> Array:
        """Signal within a disc of a grade; `eta` runs from -1 at its lower to 1 at its upper surface."""
        look, g = self.look, disc.grade - 1
        depth = (disc.front + disc.back) / 2
        tn = (t - 0.08 * depth) / depth
        soft = (0.07, 0.09, 0.16, 0.25, 0.35)[g]
        lumps = self.texture(u, s, t, (5, 2.2, 3.5), 13)
        r = np.sqrt((tn / 0.68) ** 2 + (off / 0.75) ** 2 + (np.abs(eta) / 0.92) ** 4)
        nucleus = _step(1.0 - r + (0.02, 0.05, 0.12, 0.2, 0.3)[g] * lumps, soft)
        core = look.nucleus[g] * (1 + (0.03, 0.1, 0.18, 0.25, 0.4)[g] * lumps)
        cleft = (0.0, 0.45, 0.35, 0.1, 0.0)[g]
        core = core * (1 - cleft * np.exp(-(((eta - self._cleft[number - 1]) / 0.22) ** 2)) * _step(0.62 - np.abs(tn), 0.1))
        ring = look.annulus[g] * (1 + 0.25 * lumps)
        # The inner annulus is wetter than the outer, whose fibres merge with the ligaments.
        outer = _step(np.abs(tn) - 0.86, 0.05)
        ring = ring * (1.35 - 0.8 * outer)
        signal = ring + nucleus * (core - ring)
        if disc.grade == 5 and self._vacuum[number - 1]:
            signal = signal * (1 - 0.8 * np.exp(-((eta / 0.4) ** 2)) * _step(0.6 - np.abs(tn), 0.1))
        return np.maximum(signal, 0.0)
