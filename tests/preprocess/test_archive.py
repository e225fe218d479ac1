import io
import random
import stat
import struct
import traceback
import zipfile
from pathlib import Path

import pytest

from discgrade.errors import UnreadableFile, UnsafeArchive, UploadTooLarge
from preprocess.archive import Budget, extract_zip
from preprocess.limits import Limits
from tests.support.dicom_files import write_zip

NOISE = random.Random(3).randbytes(3000)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def extract(members: dict[str, bytes], into: Path, limits: Limits | None = None) -> list[Path]:
    return extract_zip(write_zip(members, into.parent / "a.zip"), into, limits or Limits())


def test_files_come_out_in_order_under_names_of_our_own(into: Path) -> None:
    found = extract({"b/two": b"2" * 10, "b/": b"", "a/one.dcm": NOISE}, into)
    assert [path.read_bytes() for path in found] == [b"2" * 10, NOISE]
    assert [path.name for path in found] == ["00000", "00001"]


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "a\\..\\..\\evil", "C:\\evil", "\\\\server\\evil", "C:evil"],
)
def test_traversal_is_refused_and_writes_nothing(into: Path, name: str) -> None:
    with pytest.raises(UnsafeArchive, match="leads outside"):
        extract({"good": NOISE, name: b"x"}, into)
    assert sorted(path.name for path in into.parent.iterdir()) == ["a.zip", "into"]
    assert not list(into.iterdir())


def test_symbolic_link_is_refused(into: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = into.parent / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeArchive, match="symbolic link"):
        extract_zip(path, into, Limits())


def test_encryption_is_refused(into: Path) -> None:
    path = write_zip({"a": NOISE}, into.parent / "a.zip")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(UnsafeArchive, match="encrypted") as caught:
        extract_zip(path, into, Limits())
    assert "password" in caught.value.advice


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_methods_are_refused(into: Path, method: int) -> None:
    with pytest.raises(UnsafeArchive, match="compression method"):
        extract_zip(write_zip({"a": NOISE}, into.parent / "a.zip", method), into, Limits())


@pytest.mark.parametrize("name", ["inner.zip", "IM0001"])
def test_nested_zip_is_refused_whatever_its_name(into: Path, name: str) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a", NOISE)
    with pytest.raises(UnsafeArchive, match="File 2 of 2 in the zip is a zip itself"):
        extract({"a": NOISE, name: inner.getvalue()}, into)


def test_ratio_bomb_is_refused_before_it_is_on_disk(into: Path) -> None:
    with pytest.raises(UnsafeArchive, match="200-fold"):
        extract({"zeros": bytes(40_000_000)}, into)
    assert sum(path.stat().st_size for path in into.iterdir()) < 15_000_000


def test_bytes_are_limited_over_all_members(into: Path) -> None:
    members = {str(k): NOISE for k in range(4)}
    assert len(extract(members, into, Limits(max_bytes=12_000))) == 4
    with pytest.raises(UploadTooLarge, match="11999 bytes"):
        extract(members, into, Limits(max_bytes=11_999))


def test_bytes_are_counted_not_believed(into: Path) -> None:
    path = write_zip({"a": bytes(500_000)}, into.parent / "a.zip")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(signature) + offset, 10)
    path.write_bytes(data)
    with pytest.raises((UploadTooLarge, UnreadableFile)):
        extract_zip(path, into, Limits(max_bytes=100_000))
    assert sum(file.stat().st_size for file in into.iterdir()) <= 100_000


def test_members_are_limited(into: Path) -> None:
    members = {str(k): b"x" for k in range(5)}
    assert len(extract(members, into, Limits(max_files=5))) == 5
    with pytest.raises(UploadTooLarge, match="more than 4 files"):
        extract(members, into, Limits(max_files=4))


@pytest.mark.parametrize("zip64", [False, True])
def test_huge_directory_is_refused_before_it_is_parsed(into: Path, zip64: bool) -> None:
    path = into.parent / "a.zip"
    size = 50_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46 if zip64 else size, 0, 0)
    if zip64:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, 0)
        end = record + struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1) + end
    path.write_bytes(b"PK\x03\x04" + bytes(size) + end)
    with pytest.raises(UploadTooLarge, match="far more than 10 files"):
        extract_zip(path, into, Limits(max_files=10))


@pytest.mark.parametrize("keep", [4, 100, 2900, -1])
def test_truncated_archive_is_unreadable(into: Path, keep: int) -> None:
    path = write_zip({"a": NOISE}, into.parent / "a.zip")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableFile):
        extract_zip(path, into, Limits())


def test_changed_byte_is_unreadable(into: Path) -> None:
    path = write_zip({"a": NOISE}, into.parent / "a.zip", zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match="damaged"):
        extract_zip(path, into, Limits())


def test_a_member_without_a_name_is_unreadable(into: Path) -> None:
    path = write_zip({"a.txt": NOISE}, into.parent / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"a.txt", b"\0.txt"))  # zipfile ends names at a NUL
    with pytest.raises(UnreadableFile):
        extract_zip(path, into, Limits())


def test_tracebacks_do_not_name_the_member(into: Path) -> None:
    path = write_zip({"DOE_JOHN": NOISE}, into.parent / "a.zip", zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableFile) as caught:
        extract_zip(path, into, Limits())
    assert "DOE" not in "".join(traceback.format_exception(caught.value))


def test_budget_lets_small_things_compress_well() -> None:
    Budget(Limits(max_ratio=10), compressed=10).take(900_000)
    with pytest.raises(UnsafeArchive):
        Budget(Limits(max_ratio=10), compressed=10).take(1_100_000)
