"""The label image, and the image that was graded, in the geometry of the input."""

from __future__ import annotations

from typing import Any

import numpy as np
from isal import igzip
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from preprocess.volume import Volume

__all__ = ["grey_image", "label_image"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DATA_OFFSET = 352  # 348 bytes of header and 4 that say there are no extensions
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
_WHOLE_NUMBERS = (np.int16, np.uint16)


def label_image(labels: NDArray[np.uint8], affine: NDArray[np.float64], *, slices_first: bool) -> bytes:
    """Encode disc labels as a gzipped NIfTI-1 file.

    Args:
        labels: uint8, shape (n0, n1, n2): 0, or a disc's label, in the axis order of the source volume.
        affine: float64, shape (4, 4): 0-based array index to LPS mm, as in ``preprocess.volume.Volume``.
        slices_first: True for DICOM volumes (slices, rows, columns): NIfTI's axes then run columns, rows, slices as
            viewers expect. False keeps the axes of a NIfTI input as they are.

    Returns:
        The file's bytes. sform and qform are both set, in RAS mm; the same labels always give the same bytes.
    """
    return _nifti(labels, affine, slices_first)


def grey_image(volume: Volume, *, slices_first: bool) -> bytes:
    """Encode what was graded as a gzipped NIfTI-1 file, on the same grid as :func:`label_image`.

    Args:
        volume: As it was read.
        slices_first: As there.

    Returns:
        The file's bytes. Whole numbers are stored in 16 bits, others as 32-bit floats: every value stays as it is.
    """
    whole = (kind for kind in _WHOLE_NUMBERS if _fits(volume.array, kind))
    stored = volume.array.astype(next(whole, np.float32), copy=False)
    return _nifti(stored, volume.affine, slices_first)


def _fits(values: NDArray[np.float32], kind: type[np.integer[Any]]) -> bool:
    limits = np.iinfo(kind)
    if values.min() < limits.min or values.max() > limits.max:
        return False
    return np.array_equal(values.astype(kind), values)


def _nifti(values: NDArray[Any], affine: NDArray[np.float64], slices_first: bool) -> bytes:
    matrix = _LPS_TO_RAS @ affine
    if slices_first:
        values = values.transpose(2, 1, 0)
        matrix = matrix[:, [2, 1, 0, 3]]
    header: Any = Nifti1Header()  # its methods carry no types
    header.set_data_shape(values.shape)
    header.set_data_dtype(values.dtype)
    header.set_sform(matrix, code=_SCANNER)
    header.set_qform(matrix, code=_SCANNER)
    header.set_xyzt_units("mm")
    header["magic"] = b"n+1"
    header["vox_offset"] = _DATA_OFFSET
    no_extensions = bytes(4)
    # Put together here: nibabel's own writer takes ten times as long to look for values that need scaling. ISA-L, as
    # the image is compressed while its sender waits: 15 slices of 512 × 512 take it 25 ms, and zlib 130 ms.
    return igzip.compress(header.binaryblock + no_extensions + values.tobytes(order="F"), 1, mtime=0)
