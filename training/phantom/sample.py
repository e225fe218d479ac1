"""The phantom that the page offers to try: ``python -m training.phantom.sample web/public/page/phantom.zip``.

Grades from mild to severe, at the size of a hasty protocol, so that the zip stays below a megabyte.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from training.phantom.dicom import write_dicom, write_zip
from training.phantom.phantom import make_phantom
from training.phantom.spec import PhantomSpec

__all__ = ["SAMPLE", "write_sample"]

SAMPLE = PhantomSpec(seed=7, grades=(4, 5, 3, 2, 2, 1), slices=9, slice_spacing_mm=4.4, pixel_mm=0.8, matrix=(320, 264))


def write_sample(path: Path) -> Path:
    """Write the sample as a zip of classic DICOM; returns `path`."""
    with tempfile.TemporaryDirectory() as folder:
        return write_zip(write_dicom(make_phantom(SAMPLE), Path(folder)), path)


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]))
