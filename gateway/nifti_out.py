"""The label image, written in the geometry of the input."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

__all__ = ["label_image"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DATA_OFFSET = 352  # 348 bytes of header and 4 that say there are no extensions
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT


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
    matrix = _LPS_TO_RAS @ affine
    if slices_first:
        labels = labels.transpose(2, 1, 0)
        matrix = matrix[:, [2, 1, 0, 3]]
    header: Any = Nifti1Header()  # its methods carry no types
    header.set_data_shape(labels.shape)
    header.set_data_dtype(np.uint8)
    header.set_sform(matrix, code=_SCANNER)
    header.set_qform(matrix, code=_SCANNER)
    header.set_xyzt_units("mm")
    header["magic"] = b"n+1"
    header["vox_offset"] = _DATA_OFFSET
    no_extensions = bytes(4)
    # Put together here: nibabel's own writer takes ten times as long to look for values that need scaling.
    return gzip.compress(header.binaryblock + no_extensions + labels.tobytes(order="F"), compresslevel=1, mtime=0)
