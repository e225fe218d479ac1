import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from discgrade.errors import (
    EmptyUpload,
    MixedStudy,
    UnreadableFile,
    UnsafeArchive,
    UnsupportedFormat,
    UploadTooLarge,
)
from preprocess.limits import Limits
from preprocess.study import read_study
from tests.support.dicom_files import common, enhanced_dataset, pixels, series_datasets, uid, write, write_zip

AFFINE = np.diag([4.4, 0.7, 0.7, 1.0])


@pytest.fixture
def dicom(tmp_path: Path) -> list[Path]:
    return write(series_datasets(), tmp_path / "in")


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(pixels().astype(np.int16), AFFINE), tmp_path / "a.nii")
    return (tmp_path / "a.nii").rename(tmp_path / "IM0001.dcm")


def zipped(paths: list[Path], tmp_path: Path) -> Path:
    return write_zip({f"DICOM/{path.name}": path.read_bytes() for path in paths}, tmp_path / "upload")


def test_files_folder_and_zip_give_the_same_volume(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    deep = tmp_path / "in" / "deeper" / "still"
    deep.mkdir(parents=True)
    dicom[2] = dicom[2].rename(deep / "x")
    expected = read_study(dicom, workdir)
    for paths in ([tmp_path / "in"], [zipped(dicom, tmp_path)]):
        study = read_study(paths, workdir)
        np.testing.assert_array_equal(study.volume.array, expected.volume.array)
        np.testing.assert_array_equal(study.volume.affine, expected.volume.affine)
        assert study.chosen_because == expected.chosen_because
        assert study.chosen_series == uid("t2")


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_nifti_is_known_by_its_content(tmp_path: Path, workdir: Path, nifti: Path, pack: bool, within: bool) -> None:
    if pack:
        nifti.write_bytes(gzip.compress(nifti.read_bytes()))
    study = read_study([zipped([nifti], tmp_path) if within else nifti], workdir)
    np.testing.assert_array_equal(study.volume.array, pixels())
    assert (study.format, study.chosen_series) == ("nifti", None)
    assert study.chosen_because == "The only volume in the upload."
    assert study.warnings == ()


def test_an_enhanced_object_in_a_zip(tmp_path: Path, workdir: Path) -> None:
    study = read_study([zipped(write([enhanced_dataset()], tmp_path / "in"), tmp_path)], workdir)
    assert study.format == "dicom-multiframe"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_empty_uploads(tmp_path: Path, workdir: Path, count: int) -> None:
    paths = [tmp_path / str(k) for k in range(count)]
    for path in paths:
        path.touch()
    with pytest.raises(EmptyUpload):
        read_study(paths, workdir)


def test_empty_folder_and_empty_zip(tmp_path: Path, workdir: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", write_zip({}, tmp_path / "a"), write_zip({"folder/": b""}, tmp_path / "b")):
        with pytest.raises(EmptyUpload):
            read_study([path], workdir)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"\xff\xd8\xff\xe0" + bytes(500),
        b"%PDF-1.7\n" + bytes(500),
        gzip.compress(b"hello" * 200, mtime=0),
        b"\x1f\x8b" + bytes(500),
        b"7z\xbc\xaf\x27\x1c" + bytes(500),
        bytes(2000),
    ],
)
def test_what_is_not_an_image(tmp_path: Path, workdir: Path, data: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(data)
    with pytest.raises(UnsupportedFormat, match="None of the 1 files is DICOM or NIfTI") as caught:
        read_study([tmp_path / "a.dcm"], workdir)
    assert "zip of DICOM" in caught.value.advice


def test_files_beside_the_images_are_ignored_with_a_warning(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    (tmp_path / "in" / "README.TXT").write_text("viewer")
    (tmp_path / "in" / "empty").touch()
    study = read_study([tmp_path / "in"], workdir)
    assert [(one.code, one.message) for one in study.warnings] == [
        ("files_ignored", "2 of 7 files are no images and were ignored.")
    ]


def test_a_truncated_zip(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    path = zipped(dicom, tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableFile):
        read_study([path], workdir)


def test_a_zip_in_a_zip(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.write(dicom[0], "a")
    with pytest.raises(UnsafeArchive):
        read_study([write_zip({"b": inner.getvalue()}, tmp_path / "c")], workdir)


def test_a_zip_beside_other_files(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    with pytest.raises(UnsupportedFormat, match="zip was sent together"):
        read_study([zipped(dicom, tmp_path), dicom[0]], workdir)


def test_dicom_beside_nifti(workdir: Path, dicom: list[Path], nifti: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="DICOM and NIfTI files were sent together"):
        read_study([*dicom, nifti], workdir)


def test_two_nifti_images(workdir: Path, nifti: Path) -> None:
    with pytest.raises(MixedStudy, match="2 NIfTI images"):
        read_study([nifti, nifti], workdir)


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientID": "OTHER"},
        {"PatientName": "Other^Name"},
        {"PatientBirthDate": "19800101"},
        {"PatientID": "", "PatientName": "Other^Name"},
    ],
)
@pytest.mark.parametrize("where", ["same series", "other series", "report"])
def test_two_patients(tmp_path: Path, workdir: Path, attributes: dict[str, Any], where: str) -> None:
    datasets = series_datasets()
    if where == "other series":
        datasets += series_datasets(series="other", EchoTime=11.0, RepetitionTime=500.0)
    elif where == "report":
        datasets.append(common("report", 1, "SR", "1.2.840.10008.5.1.4.1.1.88.11"))
    for keyword, value in attributes.items():
        setattr(datasets[-1], keyword, value)
    with pytest.raises(MixedStudy, match="more than one patient") as caught:
        read_study(write(datasets, tmp_path / "in"), workdir)
    assert "other" not in caught.value.detail.lower()


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientID": ""},
        {"PatientName": ""},
        {"PatientName": "SYNTHETIC^SPINE^^^"},
        {"PatientID": " synthetic"},
        {"PatientName": "Synthetic^Spine=脊椎", "SpecificCharacterSet": ["ISO 2022 IR 6", "ISO 2022 IR 87"]},
    ],
)
def test_one_patient_written_in_two_ways(tmp_path: Path, workdir: Path, attributes: dict[str, Any]) -> None:
    datasets = series_datasets()
    for keyword, value in attributes.items():
        setattr(datasets[0], keyword, value)
    assert read_study(write(datasets, tmp_path / "in"), workdir).chosen_series == uid("t2")


def test_files_are_limited(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    assert read_study(dicom, workdir, Limits(max_files=5)).format == "dicom"
    for paths in (dicom, [tmp_path / "in"], [zipped(dicom, tmp_path)]):
        with pytest.raises(UploadTooLarge, match="more than 4 files"):
            read_study(paths, workdir, Limits(max_files=4))


def test_bytes_are_limited(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    size = sum(path.stat().st_size for path in dicom)
    for paths in (dicom, [tmp_path / "in"], [zipped(dicom, tmp_path)]):
        with pytest.raises(UploadTooLarge, match="bytes"):
            read_study(paths, workdir, Limits(max_bytes=size - 1))


def test_links_to_folders_are_not_followed(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    assert read_study([tmp_path / "in"], workdir).volume.array.shape == (5, 40, 36)


def test_everything_written_lies_in_the_work_folder(tmp_path: Path, workdir: Path, dicom: list[Path]) -> None:
    path = zipped(dicom, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    read_study([path], workdir)
    assert [one for one in sorted(tmp_path.rglob("*")) if workdir not in one.parents] == before
