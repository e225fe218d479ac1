"""Write phantoms as NIfTI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from preprocess.volume import Volume
from training.phantom.phantom import Phantom

__all__ = ["write_nifti"]


def write_nifti(phantom: Phantom | Volume, path: Path) -> Path:
    """Write a NIfTI image: int16, axes in the volume's order (slices, rows, columns), sform and qform in RAS+ mm.

    Args:
        phantom: Phantom, or any volume with whole numbers below 32768.
        path: Ends in ``.nii`` or ``.nii.gz``.

    Returns:
        `path`.
    """
    volume = phantom.volume if isinstance(phantom, Phantom) else phantom
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    # nibabel has type hints in part only: an untyped image keeps the rest of the file strict.
    new: Callable[..., Any] = nib.nifti1.Nifti1Image
    image = new(volume.array.astype(np.int16), ras)
    image.header.set_xyzt_units("mm")
    image.set_sform(ras, code=1)
    image.set_qform(ras, code=1)
    nib.loadsave.save(image, path)
    return path
