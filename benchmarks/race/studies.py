"""The studies that the contenders grade."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.grid import to_grid
from preprocess.study import read_study
from training.phantom import PhantomSpec, make_phantom, write_dicom, write_zip

__all__ = ["Study", "make_study"]


@dataclass(frozen=True, eq=False)
class Study:
    """A phantom, as each of the contenders takes it.

    Attributes:
        files: DICOM files, one a slice.
        archive: The same in one zip.
        tensors: What the ensemble takes (docs/tensors.md), prepared.
    """

    files: list[Path]
    archive: Path
    tensors: dict[str, NDArray[Any]]

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(path.stat().st_size for path in self.files)


def make_study(spec: PhantomSpec, folder: Path) -> Study:
    """Draw a phantom and write it in every form.

    Args:
        spec: What it looks like.
        folder: Made for it.
    """
    (folder / "unpacked").mkdir(parents=True)
    files = write_dicom(make_phantom(spec), folder / "study")
    grid = to_grid(read_study(files, folder / "unpacked").volume)
    tensors = {
        "IMAGE": np.ascontiguousarray(grid.pixels[:, None]),
        "FIELD_OF_VIEW": np.array(grid.field_of_view, dtype=np.int32),
        "SLICE_SPACING": np.array([grid.slice_spacing_mm], dtype=np.float32),
    }
    return Study(files, write_zip(files, folder / "study.zip"), tensors)
