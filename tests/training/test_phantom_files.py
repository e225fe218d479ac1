"""Written phantoms read back by independent readers: pixels and place in the patient are the same."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from preprocess.volume import Volume
from training.phantom import PATIENT_ID, Phantom, PhantomSpec, make_phantom, write_dicom, write_nifti, write_zip


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(
        PhantomSpec(
            seed=5, slices=4, slice_spacing_mm=4.4, pixel_mm=1.3333, matrix=(160, 120), tilt_deg=(4.0, -3.0, 6.0)
        )
    )


def affine_from(
    first: list[float], last: list[float], orientation: list[float], spacing: list[float], n: int
) -> NDArray[np.float64]:
    """PS3.3 C.7.6.2.1.1, for array indices (slice, row, column)."""
    affine = np.eye(4)
    affine[:3, 0] = np.subtract(last, first) / (n - 1)
    affine[:3, 1] = np.array(orientation[3:]) * spacing[0]
    affine[:3, 2] = np.array(orientation[:3]) * spacing[1]
    affine[:3, 3] = first
    return affine


def test_classic_dicom(phantom: Phantom, tmp_path: Path) -> None:
    files = write_dicom(phantom, tmp_path / "series")
    slices = [pydicom.dcmread(file) for file in files]
    np.testing.assert_array_equal(np.stack([ds.pixel_array for ds in slices]), phantom.volume.array)
    first, last = slices[0], slices[-1]
    affine = affine_from(
        first.ImagePositionPatient, last.ImagePositionPatient, first.ImageOrientationPatient, first.PixelSpacing, 4
    )
    np.testing.assert_allclose(affine, phantom.volume.affine, atol=1e-9)
    assert {ds.SOPClassUID for ds in slices} == {MRImageStorage}
    assert len({ds.SOPInstanceUID for ds in slices}) == 4
    assert len({(ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID) for ds in slices}) == 1
    assert [ds.InstanceNumber for ds in slices] == [1, 2, 3, 4]
    assert (first.Modality, first.EchoTime, first.RepetitionTime, first.PatientID) == ("MR", 100, 3500, PATIENT_ID)
    assert first.SpacingBetweenSlices == pytest.approx(4.4)
    assert "T2" in first.SeriesDescription


def test_enhanced_dicom(phantom: Phantom, tmp_path: Path) -> None:
    (file,) = write_dicom(phantom, tmp_path, enhanced=True)
    ds = pydicom.dcmread(file)
    assert ds.SOPClassUID == EnhancedMRImageStorage
    np.testing.assert_array_equal(ds.pixel_array, phantom.volume.array)
    shared = ds.SharedFunctionalGroupsSequence[0]
    frames = ds.PerFrameFunctionalGroupsSequence
    first, last = (frames[k].PlanePositionSequence[0].ImagePositionPatient for k in (0, -1))
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    affine = affine_from(first, last, orientation, shared.PixelMeasuresSequence[0].PixelSpacing, 4)
    np.testing.assert_allclose(affine, phantom.volume.affine, atol=1e-9)
    assert shared.MREchoSequence[0].EffectiveEchoTime == 100
    assert ds.NumberOfFrames == len(frames) == 4


def test_uids_follow_content_and_patient(phantom: Phantom, tmp_path: Path) -> None:
    def uids(folder: str, source: Phantom | Volume, patient: tuple[str, str] = ("A", "1")) -> tuple[str, str]:
        ds = pydicom.dcmread(write_dicom(source, tmp_path / folder, patient=patient)[0], stop_before_pixels=True)
        return ds.SOPInstanceUID, ds.StudyInstanceUID

    brighter = Volume(phantom.volume.array + 1, phantom.volume.affine)
    one = uids("one", phantom)
    assert uids("again", phantom) == one
    assert not set(uids("brighter", brighter)) & set(one)
    assert not set(uids("other", phantom, ("B", "2"))) & set(one)


def test_rewriting_gives_the_same_bytes(phantom: Phantom, tmp_path: Path) -> None:
    a, b = write_dicom(phantom, tmp_path / "a"), write_dicom(phantom, tmp_path / "b")
    assert [f.read_bytes() for f in a] == [f.read_bytes() for f in b]
    zips = [write_zip(files, tmp_path / f"{name}.zip") for name, files in (("a", a), ("b", b))]
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_zip_holds_the_series(phantom: Phantom, tmp_path: Path) -> None:
    files = write_dicom(phantom, tmp_path / "series")
    with zipfile.ZipFile(write_zip(files, tmp_path / "study.zip")) as archive:
        assert archive.namelist() == [f"DICOM/{file.name}" for file in files]
        assert archive.testzip() is None
        assert archive.read("DICOM/IM0002.dcm") == files[1].read_bytes()


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_nifti_is_ras(phantom: Phantom, tmp_path: Path, name: str) -> None:
    image = nib.loadsave.load(write_nifti(phantom, tmp_path / name))
    assert isinstance(image, nib.nifti1.Nifti1Image)
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom.volume.array)
    # Slices run from right to left, rows down, columns to the back: R is -x, A is -y in LPS.
    expected = phantom.volume.affine * np.array([[-1.0], [-1.0], [1.0], [1.0]])
    for affine in (image.affine, image.get_sform(), image.get_qform()):
        np.testing.assert_allclose(affine, expected, atol=1e-3)
    assert nib.orientations.aff2axcodes(image.affine) == ("L", "I", "P")
