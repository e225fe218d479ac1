"""Shape of one patient's spine: centreline, bodies, discs, canal, posterior elements; all in mm.

The spine has coordinates of its own: ``s`` runs upward along the centreline of the vertebral bodies (0 at the upper
endplate of S1), ``t`` is the distance from it in the sagittal plane (posterior positive) and ``u`` the distance from
the spine's middle plane (left positive). The curve bends mostly within the discs, so that discs become wedges and
vertebrae stay nearly rectangular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.spatial import cKDTree

from training.phantom.spec import LEVELS, PhantomSpec

__all__ = ["Array", "Disc", "Spine", "Vertebra", "build_spine"]

Array = NDArray[np.float64]

_STEP = 0.5
# From L5/S1 (L5) upward, typical adult: rim height of a healthy disc, wedge of disc and vertebra (degrees, open to the
# front), height and half depth of the vertebra.
_DISC_HEIGHT = (6.6, 7.1, 6.8, 6.0, 5.2, 4.3, 3.6, 3.3, 3.0, 2.8)
_DISC_WEDGE = (14.0, 11.0, 7.5, 6.0, 4.0, 2.0, 0.0, -1.0, -1.0, -1.5)
_BODY_WEDGE = (8.0, 2.5, 0.5, -0.5, -1.5, -2.5, -3.0, -3.0, -3.0, -3.0)
_BODY_HEIGHT = (26.5, 27.0, 27.0, 26.5, 25.5, 24.5, 23.0, 21.5, 20.5, 20.0)
_BODY_DEPTH = (17.0, 17.0, 16.8, 16.3, 15.8, 15.4, 15.2, 14.8, 14.4, 14.0)
_BODY_WIDTH = (25.5, 24.5, 23.5, 22.5, 21.5, 20.5, 19.0, 17.5, 16.5, 16.0)
_SACRUM_HEIGHT = (29.0, 24.0, 20.0, 17.0, 14.0, 25.0)
_SACRUM_GAP = (2.2, 1.2, 0.6, 0.3, 0.3, 0.0)
_SACRUM_DEPTH = (13.5, 9.5, 7.0, 5.5, 4.5, 3.0)
_SACRUM_WEDGE = (-3.0, -8.0, -16.0, -22.0, -22.0, -25.0)

# What a grade does to a disc (Pfirrmann et al., Spine 26(17):1873, 2001): height relative to a healthy one (lowest,
# highest) and bulge of the annulus in mm (lowest, highest).
_GRADE_HEIGHT = ((1.0, 1.08), (0.96, 1.05), (0.84, 1.0), (0.66, 0.88), (0.25, 0.55))
_GRADE_BULGE = ((-0.6, 0.3), (-0.3, 0.8), (0.2, 2.0), (0.8, 4.0), (1.0, 4.0))


@dataclass(frozen=True)
class Vertebra:
    """A vertebral body (or a sacral one), between ``low`` and ``high`` on the centreline."""

    low: float
    high: float
    depth: float  # half, front to back
    width: float  # half, side to side
    waist: float  # how much narrower halfway up
    sag_low: float  # depth of the endplates' concavity
    sag_high: float
    lip: float  # osteophytes: how far the rims stick out in front
    shift: float  # the whole body moved backward (listhesis)
    sacral: bool


@dataclass(frozen=True)
class Disc:
    """A disc between two bodies, between ``low`` and ``high`` at its rim."""

    low: float
    high: float
    grade: int
    front: float  # half depths, bulge included
    back: float
    width: float
    sag_low: float
    sag_high: float
    bulge: float
    shift: float


@dataclass(frozen=True)
class Spine:
    """One patient's spine.

    Attributes:
        discs: From L5/S1 upward.
        vertebrae: From L5 upward.
        sacrum: S1 downward.
        s: Samples of the centreline, ascending, shape (n,).
        curve: Their position (posterior, superior), shape (n, 2); origin in the middle of L3.
        lean: Angle of the upward tangent toward the front, radians, shape (n,).
        bend: Curvature, positive where the centre lies behind, 1/mm, shape (n,).
        size: Patient's size relative to the average.
        side: Sideways position of the spine, shape (n,).
        conus: Where the cord ends, on the centreline.
        sac_end: Where the dural sac ends.
    """

    discs: tuple[Disc, ...]
    vertebrae: tuple[Vertebra, ...]
    sacrum: tuple[Vertebra, ...]
    s: Array
    curve: Array
    lean: Array
    bend: Array
    size: float
    side: Array
    conus: float
    sac_end: float

    def at(self, s: float, t: float = 0.0) -> tuple[float, float]:
        """Position (posterior, superior) of a point given in the spine's coordinates."""
        y, z = (float(np.interp(s, self.s, self.curve[:, i])) for i in (0, 1))
        lean = float(np.interp(s, self.s, self.lean))
        return y + t * float(np.cos(lean)), z + t * float(np.sin(lean))

    def coordinates(self, y: Array, z: Array) -> tuple[Array, Array]:
        """Spine coordinates (s, t) of points (posterior, superior), of shape (rows, columns)."""
        # Nearest sample of the centreline on a coarse grid first, then two projections onto the curve.
        part = (slice(None, None, 4), slice(None, None, 4))
        _, nearest = cKDTree(self.curve).query(np.stack([y[part].ravel(), z[part].ravel()], axis=1))
        coarse = self.s[nearest].reshape(y[part].shape)
        rows, columns = (np.arange(n) / 4.0 for n in y.shape)
        s = map_coordinates(coarse, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
        t = np.zeros_like(s)
        for _ in range(3):
            at = np.clip((s - self.s[0]) / _STEP, 0, len(self.s) - 1.001)
            i = at.astype(np.intp)
            part_of = at - i
            lean = self.lean[i]
            cos, sin = np.cos(lean), np.sin(lean)
            dy = y - self.curve[i, 0] + part_of * _STEP * sin
            dz = z - self.curve[i, 1] - part_of * _STEP * cos
            t = dy * cos + dz * sin
            along = dz * cos - dy * sin
            s = s + np.clip(along / np.clip(1.0 - self.bend[i] * t, 0.4, None), -6.0, 6.0)
        return np.clip(s, self.s[0], self.s[-1]), t


def _discs_and_bodies(
    rng: np.random.Generator, spec: PhantomSpec, size: float
) -> tuple[list[Disc], list[Vertebra], list[tuple[float, float]]]:
    grades = list(spec.grade_of_level.values())
    count = len(LEVELS)
    # Every disc draws the same number of values whatever its grade: a grade changes one disc, not the patient.
    draws = rng.random((count, 8))
    tall = rng.normal(1.0, 0.035, count) * rng.normal(1.0, 0.05)
    sag = rng.uniform(0.7, 2.1, (count + 1, 2)) * size
    slip = np.where(rng.random(count) < 0.06, rng.uniform(-4.0, 3.0, count), 0.0)
    lordosis = rng.normal(1.0, 0.18)
    depths = np.array(_BODY_DEPTH) * size * rng.normal(1.0, 0.015, count)
    discs: list[Disc] = []
    bodies: list[Vertebra] = []
    angles: list[tuple[float, float]] = []
    top = 0.0
    shift_below = 0.0
    for i, grade in enumerate(grades):
        d = draws[i]
        shrink = np.interp(d[0], (0, 1), _GRADE_HEIGHT[grade - 1])
        bulge = float(np.interp(d[1] ** 1.5, (0, 1), _GRADE_BULGE[grade - 1]))
        height = float(_DISC_HEIGHT[i] * size * shrink * (0.88 + 0.24 * d[2]))
        # A worn disc loses its dome first: the endplates flatten.
        flat = float(np.clip(shrink, 0.35, 1.0))
        sag_low, sag_high = sag[i, 1] * flat, sag[i + 1, 0] * flat
        shift = shift_below + (float(slip[i]) if i in (0, 1, 2) else 0.0)
        lip = max(0.0, float((grade - 2.5) * 1.6 * d[3]))
        mean_depth = depths[i] if i == 0 else (depths[i] + depths[i - 1]) / 2
        discs.append(
            Disc(
                low=top,
                high=top + height,
                grade=grade,
                front=mean_depth + 0.5 + lip * 0.5 + 0.4 * max(bulge, 0.0),
                back=mean_depth - 0.3 + bulge,
                width=_BODY_WIDTH[i] * size + 0.3 * bulge,
                sag_low=sag_low,
                sag_high=sag_high,
                bulge=bulge,
                shift=(shift + shift_below) / 2,
            )
        )
        angles.append((height, _DISC_WEDGE[i] * lordosis * (0.75 + 0.5 * d[4]) * float(np.clip(shrink + 0.15, 0.5, 1))))
        if bodies:
            below = bodies[-1]
            bodies[-1] = Vertebra(**{**below.__dict__, "sag_high": sag_low, "lip": max(lip, below.lip)})
        body = float(_BODY_HEIGHT[i] * size * tall[i])
        bodies.append(
            Vertebra(
                low=top + height,
                high=top + height + body,
                depth=float(depths[i]),
                width=_BODY_WIDTH[i] * size,
                waist=float(1.3 + 1.6 * d[5]) * size,
                sag_low=sag_high,
                sag_high=1.0,
                lip=lip,
                shift=shift,
                sacral=False,
            )
        )
        angles.append((body, _BODY_WEDGE[i] * (0.7 + 0.6 * d[6])))
        top += height + body
        shift_below = shift
    return discs, bodies, angles


def _sacral_bodies(
    rng: np.random.Generator, spec: PhantomSpec, size: float, sag: float
) -> tuple[list[Vertebra], list[tuple[float, float]]]:
    bodies: list[Vertebra] = []
    angles: list[tuple[float, float]] = []
    bottom = 0.0
    tall = rng.normal(1.0, 0.05) * size
    curl = rng.normal(1.0, 0.3)
    for i, height in enumerate(_SACRUM_HEIGHT):
        low = bottom - height * tall
        gap = _SACRUM_GAP[i] * size * (spec.remnant if i == 0 else 1.0)
        bodies.append(
            Vertebra(
                low=low,
                high=bottom,
                depth=_SACRUM_DEPTH[i] * size,
                width=(30.0 - 4 * i) * size,
                waist=1.2 * size,
                sag_low=0.3,
                sag_high=sag if i == 0 else 0.3,
                lip=0.0,
                shift=(17.0 - _SACRUM_DEPTH[i]) * 0.35 * size if i else 1.0,
                sacral=True,
            )
        )
        angles.append((height * tall + gap, _SACRUM_WEDGE[i] * curl))
        bottom = low - gap
    return bodies, angles


def _centreline(
    up: list[tuple[float, float]], down: list[tuple[float, float]], slope: float
) -> tuple[Array, Array, Array, Array]:
    """Integrate wedge angles (length mm, degrees) from S1 up and down into s, curve, lean and bend."""
    lengths = np.array([-sum(h for h, _ in down), *[0.0], *np.cumsum([h for h, _ in up])])
    s = np.arange(np.floor(lengths[0]), np.ceil(lengths[-1]) + 40.0, _STEP)
    bend = np.zeros_like(s)
    start = 0.0
    for height, wedge in up:
        bend[(s >= start) & (s < start + height)] = np.radians(wedge) / height
        start += height
    start = 0.0
    for height, wedge in down:
        bend[(s < start) & (s >= start - height)] = np.radians(wedge) / height
        start -= height
    bend = np.clip(gaussian_filter1d(bend, 2.5 / _STEP), -0.02, 0.022)
    turned = np.cumsum(bend) * _STEP
    lean = slope - (turned - np.interp(0.0, s, turned))
    y, z = np.cumsum(-np.sin(lean)) * _STEP, np.cumsum(np.cos(lean)) * _STEP
    return s, np.stack([y, z], axis=1), lean, bend


def build_spine(spec: PhantomSpec) -> Spine:
    """Draw the spine of `spec` from the seed's anatomy stream."""
    rng = np.random.default_rng([spec.seed, 1])
    size = float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.16))
    slope = np.radians(rng.normal(41.0, 6.0))
    discs, bodies, up = _discs_and_bodies(rng, spec, size)
    sacrum, down = _sacral_bodies(rng, spec, size, discs[0].sag_low)
    s, curve, lean, bend = _centreline(up, down, float(slope))
    middle = (bodies[2].low + bodies[2].high) / 2
    curve = curve - [np.interp(middle, s, curve[:, 0]), np.interp(middle, s, curve[:, 1])]
    # One smooth wave sideways, still at the sacrum.
    wave = np.sin(np.pi * np.clip((s - rng.uniform(-10, 30)) / rng.uniform(150.0, 260.0), 0.0, 2.0))
    conus = (bodies[4].low + bodies[4].high) / 2 + rng.normal(0.0, 14.0)
    return Spine(
        discs=tuple(discs),
        vertebrae=tuple(bodies),
        sacrum=tuple(sacrum),
        s=s,
        curve=curve,
        lean=lean,
        bend=bend,
        size=size,
        side=spec.scoliosis_mm * wave,
        conus=float(conus),
        sac_end=float(sacrum[1].high - rng.uniform(-6.0, 18.0)),
    )
