"""The layout of SPIDER's own release: whole series and their masks as MetaImage files.

Source: van der Graaf et al., Scientific Data 11, 264, 2024; Zenodo 10.5281/zenodo.10159290; CC BY 4.0. Of a patient
there are ``images/{patient}_{t1|t2|t2_SPACE}.mha`` and masks of the same names: vertebrae 1–25 and discs 201–225
counted from the bottom, the canal 100, vertebrae seen in part 101–125.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discgrade.errors import InconsistentSlices, UnreadableFile
from preprocess.grid import canonical_axes
from preprocess.volume import Volume
from training.data.gradings import Grading, read_acquisitions, read_gradings
from training.data.series import UNKNOWN_ACQUISITION, Acquisition, Series

__all__ = ["Spider", "WholeSeries", "tissues"]

_SEQUENCES = ("t2", "t2_SPACE")
_CANAL, _FIRST_DISC, _LAST_DISC = 100, 201, 225


def tissues(mask: NDArray[np.int64]) -> NDArray[np.uint8]:
    """SPIDER's labels as tissues: 0 background, 1 disc, 2 vertebra (seen in part or whole), 3 canal; uint8."""
    disc = (mask >= _FIRST_DISC) & (mask <= _LAST_DISC)
    vertebra = ((mask >= 1) & (mask <= 25)) | ((mask >= 101) & (mask <= 125))
    return np.select([disc, vertebra, mask == _CANAL], [1, 2, 3], 0).astype(np.uint8)


@dataclass(frozen=True)
class WholeSeries:
    """One series of one patient as a MetaImage file; see :class:`training.data.Series`.

    Attributes:
        patient: The data set's patient number.
        sequence: ``t2`` or ``t2_SPACE``.
        image: Its file.
        mask: That of its mask, or None.
    """

    patient: str
    sequence: str
    image: Path
    mask: Path | None

    @property
    def name(self) -> str:
        """As in the overview table."""
        return self.image.stem

    @property
    def masked(self) -> bool:
        """Whether there is a mask."""
        return self.mask is not None

    @property
    def own_range(self) -> bool:
        """All slices share the scanner's scale."""
        return False

    def volume(self) -> Volume:
        """Read the slices; float32.

        Raises:
            UnreadableFile: The file cannot be read, or holds no 3-D image.
        """
        return _read(self.image)

    def labels(self) -> NDArray[np.uint8]:
        """Read the mask as tissues: 0 background, 1 disc, 2 vertebra, 3 canal; uint8, the shape of the volume."""
        return tissues(self._mask())

    def discs(self) -> NDArray[np.uint8]:
        """The discs of the mask by number from the bottom; uint8, the shape of the volume."""
        mask = self._mask()
        return np.where(tissues(mask) == 1, mask - (_FIRST_DISC - 1), 0).astype(np.uint8)

    def _mask(self) -> NDArray[np.int64]:
        """The mask, in the order of the volume.

        Raises:
            InconsistentSlices: Its size is not that of the image.
        """
        if self.mask is None:
            raise UnreadableFile("This series has no mask.", "Check the folder masks.")
        mask = _read(self.mask).array
        if mask.shape != _read(self.image).array.shape:
            raise InconsistentSlices(f"Mask and image of {self.name} differ in size.", "Check the folder masks.")
        return mask.astype(np.int64)


def _read(path: Path) -> Volume:
    """A MetaImage with its axes ordered as :class:`training.data.Series` promises."""
    import SimpleITK as sitk  # noqa: N813 (GPU hosts that build engines index data without it)

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UnreadableFile(f"{path.name} of the data set cannot be read.", "Check the file.") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UnreadableFile(f"{path.name} of the data set is no 3-D grey image.", "Check the file.")
    array = sitk.GetArrayFromImage(image).transpose(2, 1, 0)  # ITK's own order of axes
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    axes, flips = canonical_axes(affine)
    turned = np.eye(4)
    turned[:3, 3] = affine[:3, 3]
    for target, (source, flip) in enumerate(zip(axes, flips, strict=True)):
        turned[:3, target] = -affine[:3, source] if flip else affine[:3, source]
        if flip:
            turned[:3, 3] += affine[:3, source] * (array.shape[source] - 1)
    upright = array.transpose(axes)[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    return Volume(np.ascontiguousarray(upright, dtype=np.float32), turned)


@dataclass(frozen=True)
class Spider:
    """Index over the folder; no image is read before it is asked for."""

    root: Path

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether a folder has this layout."""
        return (root / "radiological_gradings.csv").is_file() and (root / "images").is_dir()

    @cached_property
    def _overview(self) -> dict[str, tuple[Acquisition, dict[str, str]]]:
        path = self.root / "overview.csv"
        return read_acquisitions(path) if path.is_file() else {}

    @cached_property
    def gradings(self) -> dict[str, dict[int, Grading]]:
        """Gradings by patient and disc, counted from the bottom (1 = L5/S1)."""
        return read_gradings(self.root / "radiological_gradings.csv")

    @cached_property
    def _all(self) -> list[WholeSeries]:
        series = []
        for image in sorted((self.root / "images").glob("*.mha")):
            patient, _, sequence = image.stem.partition("_")
            mask = self.root / "masks" / image.name
            if sequence in _SEQUENCES:
                series.append(WholeSeries(patient, sequence, image, mask if mask.is_file() else None))
        return series

    @property
    def masked(self) -> list[WholeSeries]:
        """Series with masks, both sequences."""
        return [series for series in self._all if series.masked]

    @property
    def series(self) -> list[Series]:
        """All sagittal T2 and T2 SPACE series."""
        return list(self._all)

    @cached_property
    def patients(self) -> list[str]:
        """Every patient with an image, sorted."""
        return sorted({series.patient for series in self._all})

    def acquisition(self, series: Series) -> Acquisition:
        """How a series was made."""
        return self._overview.get(series.name, (UNKNOWN_ACQUISITION, {}))[0]

    def outlined(self, series: Series) -> None:
        """Nothing: masks are all that this layout knows."""
