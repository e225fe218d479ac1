"""The layout ``spider2d``: 8-bit PNG slices made from SPIDER, masks for T2 SPACE only.

Source of the images: the SPIDER data set (van der Graaf et al., Scientific Data 11, 264, 2024), CC BY 4.0.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from preprocess.volume import Volume
from training.data.gradings import Grading, read_acquisitions, read_gradings
from training.data.outlines import outlined_discs
from training.data.series import UNKNOWN_ACQUISITION, Acquisition, Series, number_discs, sagittal_volume

__all__ = ["SlicedSeries", "Spider2d"]


@dataclass(frozen=True)
class SlicedSeries:
    """One series of one patient: neighbouring sagittal slices as PNG files; see :class:`training.data.Series`.

    Attributes:
        patient: The data set's patient number.
        sequence: ``t2`` (2-D turbo spin echo) or ``t2_SPACE`` (3-D).
        images: Image files, patient right to left.
        masks: Mask files in the same order, or empty.
        spacing_mm: Between slices, rows, columns; as the overview table gives it.
    """

    patient: str
    sequence: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    spacing_mm: tuple[float, float, float]

    @property
    def name(self) -> str:
        """As in the overview table."""
        return f"{self.patient}_{self.sequence}"

    @property
    def masked(self) -> bool:
        """Whether there are masks."""
        return bool(self.masks)

    @property
    def own_range(self) -> bool:
        """Whoever made the PNG files normalised each slice on its own."""
        return True

    def volume(self) -> Volume:
        """Read the slices; float32, 0–255."""
        return sagittal_volume(np.stack([_grey(path) for path in self.images]).astype(np.float32), self.spacing_mm)

    def labels(self) -> NDArray[np.uint8]:
        """Read the masks: 0 background, 1 disc, 2 vertebra, 3 canal; uint8, the shape of the volume."""
        return np.stack([_grey(path) for path in self.masks])

    def discs(self) -> NDArray[np.uint8]:
        """The discs of the masks, numbered from the bottom; uint8, the shape of the volume."""
        return number_discs(self.labels(), self.spacing_mm)


def _grey(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


@dataclass(frozen=True)
class Spider2d:
    """Index over the folder; nothing is read before it is asked for."""

    root: Path

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether a folder has this layout."""
        return (root / "gradings.csv").is_file() and (root / "midsagittal").is_dir()

    @cached_property
    def _overview(self) -> dict[str, tuple[Acquisition, dict[str, str]]]:
        return read_acquisitions(self.root / "overview.csv")

    @cached_property
    def gradings(self) -> dict[str, dict[int, Grading]]:
        """Gradings by patient and disc, counted from the bottom (1 = L5/S1)."""
        return read_gradings(self.root / "gradings.csv")

    @cached_property
    def masked(self) -> list[SlicedSeries]:
        """T2 SPACE series with masks, one a patient, up to 12 slices 1 mm apart."""
        folder = self.root / "t2_space"
        by_patient: dict[str, list[Path]] = {}
        for path in (folder / "images").glob("*.png"):
            by_patient.setdefault(path.name.split("_")[0], []).append(path)
        series = []
        for patient, paths in sorted(by_patient.items()):
            paths.sort(key=lambda path: int(path.stem.rsplit("slice", 1)[1]))
            masks = tuple(folder / "masks" / path.name for path in paths)
            series.append(SlicedSeries(patient, "t2_SPACE", tuple(paths), masks, (1.0, 0.46875, 0.46875)))
        return series

    @cached_property
    def midsagittal(self) -> list[SlicedSeries]:
        """One mid-sagittal slice a series, both sequences, no masks."""
        series = []
        for path in sorted((self.root / "midsagittal").glob("*.png")):
            patient, sequence = path.stem.split("_", 1)
            _, row = self._overview.get(path.stem, (None, {}))
            if not row.get("pixelspacing"):
                continue
            rows, columns = ast.literal_eval(row["pixelspacing"])
            series.append(SlicedSeries(patient, sequence, (path,), (), (4.0, float(rows), float(columns))))
        return series

    @property
    def series(self) -> list[Series]:
        """All of them; a T2 SPACE series with masks is there again as its mid-sagittal slice."""
        return [*self.masked, *self.midsagittal]

    @cached_property
    def patients(self) -> list[str]:
        """Every patient with an image, sorted."""
        return sorted({series.patient for series in self.series})

    def acquisition(self, series: Series) -> Acquisition:
        """How a series was made."""
        return self._overview.get(series.name, (UNKNOWN_ACQUISITION, {}))[0]

    def outlined(self, series: Series) -> NDArray[np.uint8] | None:
        """Discs that a second observer outlined, for evaluation alone; see :mod:`training.data.outlines`."""
        return outlined_discs(series.name, len(series.images)) if isinstance(series, SlicedSeries) else None
