import io
import traceback
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from discgrade.errors import NoPixelData, UnreadableFile, UnsafeArchive, UploadTooLarge
from preprocess import dicom_header
from preprocess.dicom_header import inflate, looks_like_dicom, read_header
from preprocess.limits import Limits
from preprocess.study import read_study
from tests.support.dicom_files import T2, common, encode, pixels, series_datasets, write


@pytest.mark.parametrize(
    ("implicit", "little"), [(True, True), (False, True), (False, False)], ids=["implicit", "explicit", "big endian"]
)
def test_files_without_preamble_are_read(workdir: Path, implicit: bool, little: bool) -> None:
    paths = []
    for k, dataset in enumerate(series_datasets()):
        if not little:
            dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).byteswap().tobytes()
        stream = io.BytesIO()
        del dataset.file_meta
        dcmwrite(stream, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
        assert stream.getvalue()[128:132] != b"DICM"
        path = workdir.parent / str(k)
        path.write_bytes(stream.getvalue())
        paths.append(path)
    np.testing.assert_array_equal(read_study(paths, workdir).volume.array, pixels())


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0" * 128 + b"DICM", True),
        (b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + b"\0" * 200, True),
        (b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100" + b"\0" * 200, True),
        (b"\x02\0\0\0UL\x04\0\xb6\0\0\0" + b"\0" * 200, True),
        (b"\0\x08\0\x05CS\0\x0aISO_IR 100" + b"\0" * 200, True),
        (b"\x08\0\x05\0\xff\xff\xff\x7f" + b"\0" * 200, False),
        (b"\x08\0\x05", False),
        (b"", False),
        (b"hello, this is a text file about DICM", False),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 200, False),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + b"\0" * 200, False),
    ],
)
def test_dicom_is_known_by_its_first_bytes(head: bytes, expected: bool) -> None:
    assert looks_like_dicom(head) is expected


def test_acquisition_and_plane_are_read(tmp_path: Path) -> None:
    path = write(series_datasets(InversionTime=160.0, ScanOptions=["FS", "SAT1"]), tmp_path)[0]
    (one,) = read_header(path, "file 1 of 5").slices
    assert one.acquisition.echo_time == T2["EchoTime"]
    assert one.acquisition.scan_options == ("fs", "sat1")
    assert one.acquisition.inversion_time == 160.0
    assert one.plane.spacing == (0.75, 0.625)
    assert one.plane.thickness == 4.0
    assert one.where == "file 1 of 5"
    assert not one.multiframe


@pytest.mark.parametrize(
    "damage",
    [{"EchoTime": ""}, {"ImageOrientationPatient": None}, {"PixelSpacing": None}, {"SeriesNumber": None}],
)
def test_empty_attributes_are_absent(tmp_path: Path, damage: dict[str, Any]) -> None:
    (one,) = read_header(write(series_datasets(pixels(1), **damage), tmp_path)[0], "a file").slices
    if "EchoTime" in damage:
        assert one.acquisition.echo_time is None
    if "PixelSpacing" in damage:
        assert one.plane.spacing is None


def test_values_that_are_no_numbers_are_absent_and_quote_nothing(workdir: Path) -> None:
    dataset = series_datasets(pixels(1))[0]
    data = encode(dataset, ExplicitVRLittleEndian)
    for old, new in ((b"102.0", b"1O2.0"), (b"3500.0", b"nan   "), (b"19700101", b"DOE^JOHN")):
        assert data.count(old) == 1
        data = data.replace(old, new)
    path = workdir.parent / "x"
    path.write_bytes(data)
    study = read_study([path], workdir)  # pydicom would warn and quote; warnings are errors in tests
    assert "no TE or TR given" in study.chosen_because


def test_tracebacks_do_not_quote_the_values(workdir: Path) -> None:
    data = encode(series_datasets(pixels(1))[0], ExplicitVRLittleEndian)
    at = data.index(b"\x28\0\x10\0US\x02\0")  # Rows becomes a number of five bytes, which are text
    path = workdir.parent / "x"
    path.write_bytes(data[:at] + b"\x28\0\x10\0US\x05\0DOE^J" + data[at + 10 :])
    with pytest.raises(UnreadableFile, match="header of file 1 of 1") as caught:
        read_study([path], workdir)
    assert "DOE" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("keep", [132, 160, 400, 700])
def test_a_truncated_header_is_unreadable(workdir: Path, keep: int) -> None:
    paths = write(series_datasets(), workdir.parent / "in")
    paths[3].write_bytes(paths[3].read_bytes()[:keep])
    with pytest.raises(UnreadableFile, match=r"(?i)file 4 of 5"):
        read_study(paths, workdir)


def test_an_image_that_ends_right_before_its_pixels_is_truncated(workdir: Path) -> None:
    paths = write(series_datasets(), workdir.parent / "in")
    data = paths[0].read_bytes()
    paths[0].write_bytes(data[: data.index(b"\xe0\x7f\x10\0OW")])
    with pytest.raises(UnreadableFile, match="File 1 of 5 ends before its pixel data"):
        read_study(paths, workdir)


REPORTS = {
    "1.2.840.10008.5.1.4.1.1.88.11": "SR",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.11.1": "PR",
    "1.2.840.10008.1.3.10": "",
}


def report(sop_class: str) -> Dataset:
    dataset = common("report", 1, REPORTS[sop_class], sop_class)
    if sop_class == "1.2.840.10008.1.3.10":
        dataset = Dataset()
        dataset.FileSetID = "DISC"
        dataset.DirectoryRecordSequence = []
        dataset.file_meta = common("report", 1, "", sop_class).file_meta
    return dataset


@pytest.mark.parametrize("sop_class", REPORTS, ids=["SR", "RTSTRUCT", "PR", "DICOMDIR"])
def test_objects_without_pixels_alone(workdir: Path, sop_class: str) -> None:
    with pytest.raises(NoPixelData, match="None of the 1 DICOM objects"):
        read_study(write([report(sop_class)], workdir.parent / "in"), workdir)


@pytest.mark.parametrize("sop_class", REPORTS, ids=["SR", "RTSTRUCT", "PR", "DICOMDIR"])
def test_objects_without_pixels_beside_images_do_not_matter(workdir: Path, sop_class: str) -> None:
    study = read_study(write([report(sop_class), *series_datasets()], workdir.parent / "in"), workdir)
    np.testing.assert_array_equal(study.volume.array, pixels())
    assert study.warnings == ()


def test_inflating_keeps_other_files(tmp_path: Path) -> None:
    path = write(series_datasets(), tmp_path / "in")[0]
    assert inflate(path, tmp_path / "out", "a file", Limits()) == path
    assert not (tmp_path / "out").exists()


def deflated(tmp_path: Path, tail: bytes) -> Path:
    """A deflated file whose data set ends in ``tail``, before compression."""
    path = write(series_datasets(), tmp_path / "in", DeflatedExplicitVRLittleEndian)[0]
    data = path.read_bytes()
    start = 132 + 12 + dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    plain = zlib.decompress(data[start:], -15)
    engine = zlib.compressobj(9, wbits=-15)
    path.write_bytes(data[:start] + engine.compress(plain + tail) + engine.flush())
    return path


def test_a_deflated_bomb_is_refused(tmp_path: Path) -> None:
    path = deflated(tmp_path, bytes(30_000_000))
    with pytest.raises(UnsafeArchive, match="200-fold"):
        inflate(path, tmp_path / "out", "a file", Limits())
    with pytest.raises(UploadTooLarge, match="1000000 bytes"):
        inflate(path, tmp_path / "out", "a file", Limits(max_bytes=1_000_000))
    assert (tmp_path / "out").stat().st_size <= 1_000_000


def test_a_header_of_endless_small_elements_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_header, "_MAX_HEADER", 100_000)
    monkeypatch.setattr(dicom_header._HeaderReader, "_left", 100_000)
    dataset = series_datasets(pixels(1))[0]
    item = Dataset()
    item.PatientComments = "x"
    dataset.ReferencedStudySequence = [item] * 8000
    dataset["ReferencedStudySequence"].is_undefined_length = True  # one that states its length is skipped, not read
    path = write([dataset], tmp_path)[0]
    with pytest.raises(UnreadableFile, match="header of a file is damaged"):
        read_header(path, "a file")
