"""Signal of the tissues and properties of the scanner, drawn once a phantom; and the textures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from training.phantom.anatomy import Array
from training.phantom.spec import PhantomSpec

__all__ = ["Look", "Texture", "draw_look"]


@dataclass(frozen=True)
class Look:
    """Signal relative to cerebrospinal fluid (1.0), and how the scanner renders it.

    ``nucleus`` and ``annulus`` have one value a Pfirrmann grade.
    """

    fat: float
    marrow: float
    muscle: float
    cortex: float
    rim_mm: float  # thickness of the dark line that cortex and chemical shift draw
    ligament: float
    cord: float
    vessel: float
    organ: float
    nucleus: tuple[float, ...]
    annulus: tuple[float, ...]
    grain: float  # relative texture of the marrow
    wear_texture: float
    blur: float  # acquired resolution, mm
    noise: float  # standard deviation of the complex noise
    coil_depth: float  # mm over which the surface coil's sensitivity falls to 1/e
    coil_floor: float
    coil_centre: float
    band: bool  # saturation band in front of the spine
    band_gap: float
    band_width: float
    warp: float  # how far distortion correction pulls in the image's corners, mm
    fat_thickness: float
    gain: float


def draw_look(spec: PhantomSpec) -> Look:
    """Draw the look of `spec` from the seed's own stream; with ``jitter`` 0 every value is the style's typical one."""
    rng = np.random.default_rng([spec.seed, 2])

    def vary(typical: float, spread: float) -> float:
        return float(typical * np.exp(spec.jitter * spread * np.clip(rng.normal(), -2.2, 2.2)))

    space = spec.style == "space"
    # One factor for all grades keeps their order: signal falls from I to V.
    wet = vary(0.52 if space else 0.85, 0.2)
    dry = vary(0.085 if space else 0.11, 0.22)
    return Look(
        fat=vary(0.62 if space else 1.0, 0.18),
        marrow=vary(0.38 if space else 0.45, 0.25),
        muscle=vary(0.09 if space else 0.15, 0.25),
        cortex=vary(0.03, 0.3),
        rim_mm=vary(0.8, 0.25),
        ligament=vary(0.05, 0.3),
        cord=vary(0.36 if space else 0.42, 0.15),
        vessel=vary(0.05, 0.5),
        organ=vary(0.22, 0.3),
        nucleus=(wet, wet * 0.72, dry + wet * 0.27, dry + wet * 0.1, dry * 0.75),
        annulus=(dry * 1.25, dry * 1.15, dry * 1.05, dry, dry * 0.75),
        grain=vary(0.17 if space else 0.1, 0.4),
        wear_texture=vary(0.2, 0.3),
        blur=vary(0.62 if space else 0.78, 0.2),
        noise=vary(0.022 if space else 0.012, 0.5),
        coil_depth=vary(75.0, 0.3),
        coil_floor=vary(0.25, 0.5),
        coil_centre=float(spec.jitter * rng.normal(0.0, 25.0)),
        band=bool(rng.random() < (0.75 if space else 0.6)),
        band_gap=float(rng.uniform(6.0, 28.0)),
        band_width=float(rng.uniform(50.0, 140.0)),
        warp=float(np.clip(rng.normal(2.0, 5.0), 0.0, 12.0)) * spec.jitter,
        fat_thickness=vary(20.0, 0.45),
        gain=vary(900.0, 0.35),
    )


class Texture:
    """Smooth random field over (u, a, b), in any two in-plane coordinates; periodic, mean 0, standard deviation 1."""

    _CELLS = 192
    _PLANES = 24

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the field; 2.2 cells are one standard deviation of its grain."""
        white = rng.standard_normal((self._PLANES, self._CELLS, self._CELLS), dtype=np.float32)
        field = gaussian_filter(white, (0.8, 2.2, 2.2), mode="wrap")
        self._field = (field - field.mean()) / field.std()

    def __call__(self, u: float, a: Array, b: Array, grain: tuple[float, float, float], stream: int) -> Array:
        """Sample at one sideways position.

        Args:
            u: Sideways position, mm.
            a: First in-plane coordinate, mm.
            b: Second in-plane coordinate, mm, in the shape of `a`.
            grain: Size of the grain along u, a and b, mm.
            stream: Number of the texture: another number is (practically) another field.

        Returns:
            Values in the shape of `a`.
        """
        plane = (u / grain[0] * 0.8 + 7.31 * stream) % self._PLANES
        low = int(plane)
        part = np.float32(plane - low)
        slab = self._field[low % self._PLANES] * (1 - part) + self._field[(low + 1) % self._PLANES] * part
        at = np.stack([a * (2.2 / grain[1]) + 37.7 * stream, b * (2.2 / grain[2]) + 91.3 * stream])
        out: Array = map_coordinates(slab, at, order=1, mode="grid-wrap", output=np.float64)
        return out
