"""Everything around the spine: abdomen, vessels, muscles, fat, skin, air."""

from __future__ import annotations

import numpy as np

from training.phantom.anatomy import Array
from training.phantom.look import Look, Texture
from training.phantom.plane import Index, Plane, cover

__all__ = ["SoftTissue"]

# Great vessels: sideways position (left positive), radius, and the level on the spine where they divide, in mm.
_VESSELS = ((9.0, 9.0, 42.0), (-13.0, 10.0, 34.0))


class SoftTissue:
    """Paints the surroundings of the spine; the spine itself is painted over it."""

    def __init__(self, plane: Plane, look: Look, texture: Texture) -> None:
        """Sort the pixels of `plane` into body regions."""
        self._plane, self._look, self._texture = plane, look, texture
        inside = (plane.behind_skin < 3) & (plane.belly > -4)
        self._ahead = np.flatnonzero((plane.t < -plane.front + 6) & (plane.behind_fascia < 4) & inside)
        self._beside = np.flatnonzero((np.abs(plane.t) < 32) & (plane.s > -60) & inside)
        self._behind = np.flatnonzero((plane.t > plane.back - 2) & (plane.behind_fascia < 4) & inside)
        self._fat = np.flatnonzero((plane.behind_fascia > -6) & inside)
        self._belly = np.flatnonzero((plane.belly < 26) & inside)

    def paint(self, u: float) -> Array:
        """Signal of the slice at sideways position `u` (mm), flat."""
        look, plane = self._look, self._plane
        image = np.full(plane.y.size, look.organ)
        self._paint_abdomen(image, self._ahead, u)
        self._paint_psoas(image, self._beside, u)
        self._paint_back(image, self._behind, u)
        at = self._belly
        image[at] += (look.fat - image[at]) * cover(16.0 - plane.belly[at], 2.0)
        self._paint_fat(image, self._fat, u)
        image *= cover(-plane.behind_skin, 0.4) * cover(plane.belly, 0.5)
        return image

    def _paint_abdomen(self, image: Array, at: Index, u: float) -> None:
        look, plane, tex = self._look, self._plane, self._texture
        y, z = plane.y[at], plane.z[at]
        organs = tex(u, y, z, (16, 14, 18), 1)
        bowel = tex(u, y, z, (9, 5.0, 6.0), 14)
        fine = tex(u, y, z, (6, 2.0, 2.5), 2)
        # Organs among fat; bowel with bright content, dark gas and dark walls.
        signal = look.organ * (1 + 0.15 * fine + 0.25 * bowel)
        signal += (0.8 * look.fat * (1 + 0.1 * fine) - signal) * cover(organs + 0.35 * bowel - 0.2, 0.12)
        loops = cover(0.35 - np.abs(organs + 0.25), 0.1)
        content = look.organ * np.where(bowel > 0.9, 3.0, np.where(bowel < -0.8, 0.15, 0.9))
        signal += (content - signal) * loops * cover(np.abs(bowel) - 0.2, 0.1)
        # Fat behind the peritoneum, then the great vessels in it, then the ligament along the bodies.
        ahead = -plane.t[at] - plane.front[at]
        signal += (0.65 * look.fat * (1 + 0.3 * fine) - signal) * cover(5.0 + 3.0 * organs - ahead, 1.5)
        for centre, radius, end in _VESSELS:
            half = radius**2 - (u - plane.side[at] - centre) ** 2
            tube = np.sqrt(np.maximum(half, 0.0)) - np.abs(ahead - radius - 3.5)
            share = cover(np.where(half > 0, tube, -5.0), 0.4) * cover(plane.s[at] - end, 4.0)
            signal += (look.vessel * (1 + 0.5 * fine) - signal) * share
        signal += (look.ligament - signal) * cover(-np.abs(ahead - 0.5) + 1.0, 0.35)
        image[at] = signal

    def _paint_psoas(self, image: Array, at: Index, u: float) -> None:
        look, plane = self._look, self._plane
        lateral = np.abs(u - plane.side[at])
        inside = 1.0 - np.hypot((plane.t[at] + 2) / 24, (lateral - 44) / 21)
        streak = self._texture(u, plane.s[at], plane.t[at], (5, 16, 2.0), 15)
        muscle = look.muscle * (1 + 0.3 * streak)
        share = cover(inside, 0.04) * cover(plane.s[at] + 40, 5.0)
        image[at] += (muscle - image[at]) * share

    def _paint_back(self, image: Array, at: Index, u: float) -> None:
        """Muscle with fatty streaks; ligaments and fat at the midline."""
        look, plane, tex = self._look, self._plane, self._texture
        s, t, z = plane.s[at], plane.t[at], plane.z[at]
        streak = tex(u, s, t, (5, 16, 1.6), 3)
        patchy = tex(u, plane.y[at], plane.z[at], (5, 2.6, 2.2), 4)
        # Worn backs are fattier low down.
        fatty = look.wear_texture * np.clip(1.2 - s / 120, 0, 1.5)
        lard = cover(streak + 0.5 * patchy - 1.5 + 3 * fatty, 0.3)
        muscle = look.muscle * (1 + 0.35 * streak) + 0.7 * look.fat * lard
        # Layers of fascia and fat lie parallel to the skin.
        depth = plane.behind_fascia[at]
        layers = look.ligament + 0.8 * look.fat * cover(tex(u, z, depth, (8, 20, 1.2), 17) - 0.2, 0.3)
        fibres = tex(u, s + 0.3 * t, t, (5, 1.5, 4.5), 16)
        middle = look.ligament * 1.5 + 0.75 * look.fat * cover(0.6 * patchy + 0.6 * fibres - 0.35, 0.5)
        midline = np.exp(-((np.abs(u - plane.side[at]) / 7.0) ** 4))
        signal = muscle + (middle - muscle) * midline
        signal += (layers - signal) * cover(depth + 7.0, 1.5)
        image[at] += (signal - image[at]) * cover(t - plane.back[at] - 1, 0.6)

    def _paint_fat(self, image: Array, at: Index, u: float) -> None:
        look, plane = self._look, self._plane
        y, z = plane.y[at], plane.z[at]
        fascia, skin = plane.behind_fascia[at], plane.behind_skin[at]
        septa = np.abs(self._texture(u, y + 0.4 * z, z, (6, 3.5, 9), 5))
        fat = look.fat * (1.0 - 0.3 * cover(0.06 - septa, 0.03))
        signal = image[at]
        signal += (fat - signal) * cover(fascia - 1.2, 0.5)
        signal += (look.ligament - signal) * cover(1.3 - np.abs(fascia), 0.35)
        signal += (0.35 * look.fat - signal) * cover(0.9 - np.abs(skin + 1.0), 0.3)
        image[at] = signal
