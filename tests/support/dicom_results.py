"""Results of phantoms as DICOM objects, for every kind of source, and where their voxels lie."""

from __future__ import annotations

import asyncio
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless
from scipy.spatial import KDTree

from discgrade.result import GradingResult
from gateway.dataplane import Dataplane
from gateway.dicom_out import DICOM_REPORT, DICOM_SEGMENTATION, build_dicom
from gateway.workers import Workers
from preprocess.limits import Limits
from preprocess.volume import Volume
from tests.support.dicom_files import encode
from tests.support.truth import TruthGrader
from training.phantom import Phantom, PhantomSpec, make_phantom, write_dicom

__all__ = ["SOURCES", "DicomResult", "grade_source", "lps_of_nifti", "lps_of_seg", "parsed", "same_places"]

SOURCES = ("classic", "multiframe", "compressed", "oblique", "anisotropic", "one-slice", "unnamed")
_GRADES = (4, 3, 2, 5, 1)
Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DicomResult:
    """A graded phantom.

    Attributes:
        name: One of :data:`SOURCES`.
        files: The source's files.
        artefacts: What the store keeps.
        segmentation: DICOM SEG.
        report: DICOM SR.
    """

    name: str
    files: list[Path]
    artefacts: dict[str, bytes]
    segmentation: bytes
    report: bytes

    @property
    def result(self) -> GradingResult:
        return GradingResult.model_validate_json(self.artefacts["result.json"])


def parsed(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def _write_source(name: str, folder: Path) -> tuple[Phantom, list[Path]]:
    """A phantom and its files, of the kind that ``name`` says."""
    spec = PhantomSpec(
        grades=_GRADES,
        slices=1 if name == "one-slice" else 5,
        pixel_mm=1.2,
        matrix=(200, 160),
        tilt_deg=(4.0, 7.0, 5.0) if name == "oblique" else (0.0, 0.0, 0.0),
    )
    phantom = make_phantom(spec)
    volume = phantom.volume
    if name == "anisotropic":
        affine = volume.affine.copy()
        affine[:3, 2] *= 2
        volume = Volume(np.ascontiguousarray(volume.array[:, :, ::2]), affine)
    files = write_dicom(volume, folder, enhanced=name == "multiframe")
    if name == "compressed":
        for path in files:
            path.write_bytes(encode(pydicom.dcmread(path), JPEG2000Lossless))
    return phantom, files


def grade_source(name: str, folder: Path) -> DicomResult:
    """Grade a phantom with the truth and make its DICOM objects."""
    phantom, files = _write_source(name, folder / "source")
    workdir = folder / "work"
    workdir.mkdir()

    grader = TruthGrader(phantom)
    if name == "unnamed":
        grader.instead = {"levels": ("unknown",) * len(phantom.levels), "warnings": ("field_of_view_cut",)}

    async def run() -> dict[str, bytes]:
        dataplane = Dataplane(Workers(1), Limits())
        graded = await dataplane.grade(await dataplane.prepare(files, workdir), grader)
        return graded.artefacts()

    artefacts = asyncio.run(run())
    made = build_dicom(artefacts)
    return DicomResult(name, files, artefacts, made[DICOM_SEGMENTATION], made[DICOM_REPORT])


def lps_of_nifti(packed: bytes) -> dict[int, Points]:
    """Label to the places of its voxels, mm LPS, shape (voxels, 3), by the file's own affine."""
    image = Nifti1Image.from_bytes(gzip.decompress(packed))
    labels = np.asarray(image.dataobj)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    return {
        int(label): np.argwhere(labels == label) @ to_lps[:3, :3].T + to_lps[:3, 3]
        for label in np.unique(labels[labels > 0])
    }


def lps_of_seg(content: bytes) -> dict[int, Points]:
    """Segment to the places of its voxels, by PS3.3 C.7.6.2.1.1 from each frame's own attributes."""
    dataset = parsed(content)
    frames = np.atleast_3d(dataset.pixel_array.T).T
    (shared,) = dataset.SharedFunctionalGroupsSequence
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found: dict[int, list[Points]] = {}
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        identification = groups.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        places: Points = position + np.column_stack((columns * column_mm, rows * row_mm)) @ orientation
        found.setdefault(int(identification[0].ReferencedSegmentNumber), []).append(places)
    return {segment: np.concatenate(places) for segment, places in found.items()}


def same_places(first: Points, second: Points, within_mm: float = 1e-3) -> bool:
    """Whether two sets of places are the same, in whatever order."""
    if first.shape != second.shape:
        return False
    distance, partner = KDTree(first).query(second)
    return bool(distance.max() <= within_mm and len(np.unique(partner)) == len(partner))
