from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from discgrade._batch.find import Found, files_below, identify

MR = "1.2.840.10008.5.1.4.1.1.4"


def dicom(path: Path, study: str | None, sop_class: str = MR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = "1.2.3.4"
    if study is not None:
        dataset.StudyInstanceUID = study
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def names(root: Path, *leave_out: Path) -> list[str]:
    return [name for name, _ in files_below(root, frozenset(leave_out))]


def test_files_in_a_fixed_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c/.hidden", ".git/x", "b/out.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert names(tmp_path, tmp_path / "b" / "out.csv") == ["a", "link", "b/1", "b/2"]


def test_dicom_files_belong_together_by_study(tmp_path: Path) -> None:
    dicom(tmp_path / "one" / "x.dcm", "1.2.3")
    dicom(tmp_path / "two" / "no-ending", "1.2.3")
    dicom(tmp_path / "two" / "other", "1.2.4")
    dicom(tmp_path / "two" / "nameless", None)
    found = {name: identify(tmp_path, name) for name in names(tmp_path)}
    assert found == {
        "one/x.dcm": Found("dicom", "uid:1.2.3"),
        "two/no-ending": Found("dicom", "uid:1.2.3"),
        "two/other": Found("dicom", "uid:1.2.4"),
        "two/nameless": Found("dicom", "folder:two"),
    }


def test_dicom_without_its_preamble(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a", "1.2.3")
    bare = tmp_path / "bare"
    bare.write_bytes(path.read_bytes()[132:])
    assert identify(tmp_path, "bare") == Found("dicom", "uid:1.2.3")


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.zip", b"PK\x03\x04", "zip"),
        ("zip without ending", b"PK\x03\x04", "zip"),
        ("a.nii.gz", b"\x1f\x8b\x08", "nifti"),
        ("b.nii", bytes(344) + b"n+1\0", "nifti"),
    ],
)
def test_one_file_is_a_study(tmp_path: Path, name: str, head: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(head + bytes(1000))
    assert identify(tmp_path, name) == Found(kind, f"file:{name}")


def test_what_is_no_study_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague")
    (tmp_path / "empty").touch()
    (tmp_path / "table.csv.gz").write_bytes(b"\x1f\x8b\x08" + bytes(100))
    (tmp_path / "like dicom").write_bytes(b"\x08\x00\x05\x00garbage" * 30)
    (tmp_path / "damaged").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\xff\xff" * 20)
    dicom(tmp_path / "DICOMDIR", None, "1.2.840.10008.1.3.10")
    assert {name: identify(tmp_path, name) for name in names(tmp_path)} == dict.fromkeys(names(tmp_path))
