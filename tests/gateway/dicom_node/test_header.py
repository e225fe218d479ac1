"""What is read of an object, in every encoding."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from gateway.dicom_node.header import Header, Unreadable, read_header
from gateway.dicom_node.scp import TRANSFER_SYNTAXES
from tests.support.dicom_files import STUDY, encode, jpeg_baseline, pixels, slice_dataset

JPEG_BASELINE, JPEG_LOSSLESS_ANY = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.57"


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_identification_is_read(tmp_path: Path, syntax: str) -> None:
    image = pixels(1)[0]
    dataset = slice_dataset(image // 16 if syntax == JPEG_BASELINE else image, (0, 0, 0), IssuerOfPatientID="HOSPITAL")
    if syntax == JPEG_BASELINE:
        dataset = jpeg_baseline(slice_dataset((image // 16).astype("uint8"), (0, 0, 0), IssuerOfPatientID="HOSPITAL"))
    if syntax == JPEG_LOSSLESS_ANY:  # the same codestream, for any predictor
        encode(dataset, "1.2.840.10008.1.2.4.70")
    path = tmp_path / "object"
    path.write_bytes(encode(dataset, syntax))
    assert read_header(path) == Header(
        dataset.SOPClassUID, dataset.SOPInstanceUID, STUDY, (dataset.PatientID, "HOSPITAL")
    )


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_an_object_without_identification_is_refused(tmp_path: Path, keyword: str) -> None:
    path = tmp_path / "object"
    content = encode(slice_dataset(pixels(1)[0], (0, 0, 0)), "1.2.840.10008.1.2.1")
    dataset = slice_dataset(pixels(1)[0], (0, 0, 0))
    wanted = str(dataset[keyword].value).encode()
    at = content.rindex(wanted)  # the first is in the file meta information
    path.write_bytes(content[:at] + b"\0" * len(wanted) + content[at + len(wanted) :])
    with pytest.raises(Unreadable):
        read_header(path)


def test_a_patient_may_be_without_id(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(encode(slice_dataset(pixels(1)[0], (0, 0, 0), PatientID=None), "1.2.840.10008.1.2.1"))
    assert read_header(path).patient == ("", "")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 200, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM\2\0\x10\0UI\xff\xff"]
)
def test_what_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "object"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        read_header(path)


def test_a_deflated_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "object"
    whole = encode(slice_dataset(pixels(1)[0], (0, 0, 0)), DeflatedExplicitVRLittleEndian)
    header = whole[: whole.index(b"1.2.840.10008.1.2.1.99") + 22]
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # An element of group 8 that claims 1 GiB, and has 64 MiB of it.
    bomb = pack.compress(b"\x08\0\x05\0OB\0\0" + (2**30).to_bytes(4, "little") + bytes(2**26)) + pack.flush()
    path.write_bytes(header + bomb)
    with pytest.raises(Unreadable):
        read_header(path)
