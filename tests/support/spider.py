"""A small data set in the layout of SPIDER's release, made of phantoms."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation imports it so)
from numpy.typing import NDArray

from training.phantom import Phantom, PhantomSpec, make_phantom

__all__ = ["small_phantom", "write_metaimage", "write_spider"]

_HEADER = (
    *("Patient", "IVD label", "Modic", "UP endplate", "LOW endplate", "Spondylolisthesis"),
    *("Disc herniation", "Disc narrowing", "Disc bulging", "Pfirrman grade"),
)
_OVERVIEW = ("new_file_name", "sex", "MagneticFieldStrength", "Manufacturer", "ManufacturerModelName")


def small_phantom(seed: int, slices: int = 3) -> Phantom:
    """A spine of a few slices, large enough for the served segmenter."""
    grades = ((5, 4, 3, 2, 1, 1), (3, 4, 2, 2, 1, 1), (4, 3, 3, 2, 2, 1))[seed % 3]
    return make_phantom(PhantomSpec(seed=seed, grades=grades, slices=slices, pixel_mm=0.8, matrix=(352, 288)))


def write_spider(root: Path, phantoms: Sequence[Phantom]) -> None:
    """Write images, masks and both tables; odd patients are stored with other axes, as releases do."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    tables = [(root / name).open("w", newline="") for name in ("radiological_gradings.csv", "overview.csv")]
    with tables[0], tables[1]:
        graded, made = (csv.writer(table) for table in tables)
        graded.writerow(_HEADER)
        made.writerow(_OVERVIEW)
        for number, phantom in enumerate(phantoms, start=1):
            for sequence in ("t1", "t2") if number % 3 else ("t2_SPACE",):
                name = f"{number}_{sequence}"
                turned = number % 2 == 1
                write_metaimage(phantom.volume.array, phantom, root / "images" / f"{name}.mha", turned=turned)
                write_metaimage(_mask(phantom), phantom, root / "masks" / f"{name}.mha", turned=turned)
                made.writerow([name, "F " if number % 2 else "M", "1.5", "SIEMENS", "Avanto_fit"])
            for disc, grade in enumerate(phantom.grades, start=1):
                worn = int(grade >= 4)
                graded.writerow([number, disc, 2 * worn, worn, worn, 0, worn, worn, worn, grade])


def _mask(phantom: Phantom) -> NDArray[np.int16]:
    mask = np.select([phantom.labels == 2, phantom.labels == 3], [1, 100], 0).astype(np.int16)
    mask[phantom.instances > 0] = 200 + phantom.instances[phantom.instances > 0].astype(np.int16)
    return mask


def write_metaimage(array: NDArray[np.generic], phantom: Phantom, path: Path, *, turned: bool) -> None:
    """Write an array in the geometry of a phantom; turned, its first axis runs the other way and comes last."""
    affine = phantom.volume.affine.copy()
    values = array
    if turned:
        affine[:3, 3] += affine[:3, 0] * (array.shape[0] - 1)
        affine[:3, 0] *= -1
        affine[:, :3] = affine[:, [1, 2, 0]]
        values = array[::-1].transpose(1, 2, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)).astype(np.int16))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=True)
