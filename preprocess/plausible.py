"""What every reader asks of the finished image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from discgrade.errors import ImplausibleSpacing, InvalidPixelValues

__all__ = ["check_pixels", "check_spacing"]

_FINEST_MM = 0.1
_COARSEST_MM = 20.0
_COARSEST_IN_PLANE_MM = 4.0


def check_spacing(spacing: Sequence[float]) -> None:
    """Refuse voxel sizes that no spine MR has, such as metres taken for millimetres.

    Args:
        spacing: mm along the three array axes, any order; the two smallest count as in-plane.

    Raises:
        ImplausibleSpacing: Outside 0.1 to 20 mm, or in-plane above 4 mm.
    """
    ordered = sorted(spacing)
    if not (ordered[0] >= _FINEST_MM and ordered[1] <= _COARSEST_IN_PLANE_MM and ordered[2] <= _COARSEST_MM):
        raise ImplausibleSpacing("A voxel would measure {:.4g} x {:.4g} x {:.4g} mm.".format(*spacing))


def check_pixels(array: NDArray[np.float32]) -> None:
    """Refuse images with values that are not finite, and blank ones.

    Args:
        array: Any shape, at least one element.

    Raises:
        InvalidPixelValues: NaN, infinite or constant.
    """
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise InvalidPixelValues("The image holds NaN or infinite values.")
    if low == high:
        raise InvalidPixelValues("Every pixel of the image has the same value.")
