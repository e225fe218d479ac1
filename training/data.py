"""The spider2d data set: which slices, masks and gradings belong to which patient, and who is held out.

Source of the images: the SPIDER data set (van der Graaf et al., Scientific Data 11, 264, 2024), CC BY 4.0.
"""

from __future__ import annotations

import ast
import csv
import os
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from preprocess.volume import Volume

__all__ = ["Series", "Spider2d", "default_root", "sagittal_volume", "split_patients"]


def default_root() -> Path:
    """Where the data set lies: ``$DISCGRADE_DATA``, or ``../shared/data/spider2d`` beside the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "spider2d"
    return Path(os.environ.get("DISCGRADE_DATA", beside))


def sagittal_volume(slices: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> Volume:
    """Place upright sagittal slices, anterior to the left, in the patient.

    Args:
        slices: float32 (slices from right to left, rows from head to feet, columns from front to back).
        spacing_mm: Between slices, rows and columns.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]) @ np.diag(spacing_mm)
    return Volume(slices, affine)


@dataclass(frozen=True)
class Series:
    """One series of one patient: neighbouring sagittal slices as PNG files.

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

    def volume(self) -> Volume:
        """Read the slices; float32, 0–255."""
        return sagittal_volume(np.stack([_grey(path) for path in self.images]).astype(np.float32), self.spacing_mm)

    def labels(self) -> NDArray[np.uint8]:
        """Read the masks: 0 background, 1 disc, 2 vertebra, 3 canal; uint8, the shape of the volume."""
        return np.stack([_grey(path) for path in self.masks])


def _grey(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


@dataclass(frozen=True)
class Spider2d:
    """Index over the folder; nothing is read before it is asked for."""

    root: Path

    @cached_property
    def _overview(self) -> dict[str, dict[str, str]]:
        with (self.root / "overview.csv").open(newline="") as handle:
            return {row["new_file_name"]: row for row in csv.DictReader(handle)}

    @cached_property
    def gradings(self) -> dict[str, dict[int, int]]:
        """Pfirrmann grade 1–5 by patient and disc, counted from the bottom (1 = L5/S1)."""
        grades: dict[str, dict[int, int]] = {}
        with (self.root / "gradings.csv").open(newline="") as handle:
            for row in csv.DictReader(handle):
                grades.setdefault(row["patient"], {})[int(row["ivd_label"])] = int(row["pfirrmann"])
        return grades

    @cached_property
    def masked(self) -> list[Series]:
        """T2 SPACE series with masks, one a patient, up to 12 slices 1 mm apart."""
        folder = self.root / "t2_space"
        by_patient: dict[str, list[Path]] = {}
        for path in (folder / "images").glob("*.png"):
            by_patient.setdefault(path.name.split("_")[0], []).append(path)
        series = []
        for patient, paths in sorted(by_patient.items()):
            paths.sort(key=lambda path: int(path.stem.rsplit("slice", 1)[1]))
            masks = tuple(folder / "masks" / path.name for path in paths)
            series.append(Series(patient, "t2_SPACE", tuple(paths), masks, (1.0, 0.46875, 0.46875)))
        return series

    @cached_property
    def midsagittal(self) -> list[Series]:
        """One mid-sagittal slice a series, both sequences, no masks."""
        series = []
        for path in sorted((self.root / "midsagittal").glob("*.png")):
            patient, sequence = path.stem.split("_", 1)
            row = self._overview.get(path.stem)
            if row is None or not row["PixelSpacing"]:
                continue
            rows, columns = ast.literal_eval(row["PixelSpacing"])
            series.append(Series(patient, sequence, (path,), (), (4.0, float(rows), float(columns))))
        return series

    @cached_property
    def patients(self) -> list[str]:
        """Every patient with an image, sorted."""
        return sorted({series.patient for series in [*self.masked, *self.midsagittal]})


def split_patients(data: Spider2d, *, seed: int = 2026, share: float = 0.2) -> tuple[set[str], set[str]]:
    """Hold patients out for validation, the same share of those with masks and of those without.

    Returns:
        (training, validation) patients, disjoint; the same for both networks.
    """
    with_masks = {series.patient for series in data.masked}
    validation: set[str] = set()
    for group in (sorted(with_masks), sorted(set(data.patients) - with_masks)):
        shuffled = random.Random(seed).sample(group, len(group))
        validation.update(shuffled[: round(share * len(group))])
    return set(data.patients) - validation, validation
