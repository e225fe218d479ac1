"""Paint sagittal slices of the phantom, and their labels, from the continuous anatomy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.phantom.anatomy import Array
from training.phantom.bone import Bone
from training.phantom.canal import Canal
from training.phantom.disc import Discs
from training.phantom.look import Look, Texture
from training.phantom.plane import Canvas, Plane
from training.phantom.tissue import SoftTissue

__all__ = ["Painter"]

# Thin slices are painted at their centre; the spine in thick ones is the mean of three positions.
_THIN_MM = 2.0


class Painter:
    """Paints slices of one plane."""

    def __init__(self, plane: Plane, look: Look, pixel: float, rng: np.random.Generator) -> None:
        """Prepare painting with edges as soft as one `pixel` (mm)."""
        self._plane, self._pixel = plane, pixel
        texture = Texture(rng)
        self._tissue = SoftTissue(plane, look, texture)
        self._canal = Canal(plane, look, texture, rng)
        self._bone = Bone(plane, look, texture, rng)
        self._discs = Discs(plane, look, texture, rng)

    def slice(self, u: float, thickness: float) -> tuple[Array, NDArray[np.uint8], NDArray[np.uint8]]:
        """Paint the slice centred at sideways position `u` (mm, left positive).

        Returns:
            Signal (float64), tissue labels at the slice's centre and disc numbers (1 = L5/S1; uint8), each of shape
            (rows, columns).
        """
        ground = self._tissue.paint(u)
        textures = self._canal.textures(u), self._bone.textures(u), self._discs.textures(u)
        labels, instances = np.zeros(ground.size, np.uint8), np.zeros(ground.size, np.uint8)
        total = np.zeros_like(ground)
        offsets = (0.0,) if thickness < _THIN_MM else (0.0, -thickness / 3, thickness / 3)
        for offset in offsets:
            canvas = Canvas(ground.copy(), None if offset else labels, None if offset else instances, self._pixel)
            self._canal.paint(canvas, u + offset, textures[0])
            self._bone.paint_arches(canvas, u + offset, textures[1])
            self._bone.paint_bodies(canvas, u + offset, textures[1])
            self._discs.paint(canvas, u + offset, textures[2])
            total += canvas.image
        shape = self._plane.shape
        return (total / len(offsets)).reshape(shape), labels.reshape(shape), instances.reshape(shape)
