"""From signal to image: coil sensitivity, acquired resolution with its ringing, Rician noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from training.phantom.anatomy import Array
from training.phantom.look import Look
from training.phantom.plane import Plane

__all__ = ["coil", "covered", "scan"]


def coil(at: Plane, look: Look) -> Array:
    """Sensitivity of a spine coil behind the patient, and the saturation band in front, shape (rows, columns)."""
    near = np.exp(-np.clip(45.0 - at.y, 0.0, None) / look.coil_depth)
    ends = np.exp(-(((at.z - look.coil_centre + 10) / 190.0) ** 4))
    out = (look.coil_floor + near) / (look.coil_floor + 0.6) * (0.15 + 0.85 * ends)
    if look.band:
        ahead = -at.t - at.front - look.band_gap
        edge = np.tanh(ahead / 4.0) - np.tanh((ahead - look.band_width) / 8.0)
        out = out * (1.0 - 0.46 * edge)
    sensitivity: Array = out.reshape(at.shape)
    return sensitivity


def covered(shape: tuple[int, int], look: Look, pixel: float) -> NDArray[np.float32]:
    """1 where the image has content, 0 in the corners that distortion correction leaves empty, shape `shape`."""
    row, column = np.linspace(-1.0, 1.0, shape[0])[:, None], np.linspace(-1.0, 1.0, shape[1])[None, :]
    lost_rows, lost_columns = (2.0 * look.warp / (pixel * n) for n in shape)
    inside = (np.abs(row) <= 1.0 - lost_rows * column**2) & (np.abs(column) <= 1.0 - lost_columns * row**2)
    out: NDArray[np.float32] = inside.astype(np.float32)
    return out


def scan(signal: Array, look: Look, pixel: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Scan one slice.

    Args:
        signal: Ideal signal, shape (rows, columns).
        look: Resolution, noise and gain.
        pixel: Pixel size of the image, mm.
        rng: Source of noise.

    Returns:
        Magnitude image, whole numbers 0 to 4095, same shape.
    """
    rows, columns = signal.shape
    ky = np.abs(fft.fftfreq(rows, pixel))[:, None]
    kx = np.abs(fft.rfftfreq(columns, pixel))[None, :]
    # The scanner samples k-space up to the acquired resolution, filters it lightly and fills the rest with zeros.
    edge = 0.5 / look.blur
    window = np.ones((1, 1))
    for k in (ky, kx):
        part = np.clip(k / edge, 0.0, 1.0)
        window = window * (0.62 + 0.38 * np.cos(np.pi * part)) * (k < edge)
    share = float(np.sqrt((window**2).mean()))
    noise = rng.standard_normal((2, rows, columns), dtype=np.float32) * (look.noise / max(share, 1e-3))
    real = fft.irfft2(fft.rfft2(signal.astype(np.float32) + noise[0]) * window, s=signal.shape)
    other = fft.irfft2(fft.rfft2(noise[1]) * window, s=signal.shape)
    stored: NDArray[np.float32] = np.clip(np.rint(np.hypot(real, other) * look.gain), 0, 4095).astype(np.float32)
    return stored
