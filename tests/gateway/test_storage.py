from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from discgrade.errors import NotFound
from gateway.storage import RESULT, LocalStorage, new_result_id


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def store(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "data", keep_results=3, keep_seconds=3600)


def test_a_saved_result_is_loaded_as_it_was(store: LocalStorage) -> None:
    result_id = new_result_id()
    store.save(result_id, {RESULT: b"{}", "overlay.png": b"png"})
    assert store.load(result_id, RESULT) == b"{}"
    assert store.load(result_id, "overlay.png") == b"png"


def test_what_is_added_stays_as_it_was_first_and_goes_with_the_result(store: LocalStorage, tmp_path: Path) -> None:
    result_id = new_result_id()
    store.save(result_id, {RESULT: b"{}"})
    assert store.add(result_id, "report.sr.dcm", b"first") == b"first"
    assert store.add(result_id, "report.sr.dcm", b"second") == b"first"
    assert store.load(result_id, "report.sr.dcm") == b"first"
    store.delete(result_id)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("result_id", ["0" * 32, "../../etc"])
def test_nothing_is_added_to_what_is_not_there(store: LocalStorage, tmp_path: Path, result_id: str) -> None:
    with pytest.raises(NotFound):
        store.add(result_id, "report.sr.dcm", b"first")
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("result_id", ["0" * 32, "../../etc", "..", "", "A" * 32, "0" * 31 + "/", "0" * 33])
def test_an_unknown_or_crafted_id_is_not_found(store: LocalStorage, result_id: str) -> None:
    with pytest.raises(NotFound):
        store.load(result_id, RESULT)


def test_the_oldest_results_go_first(store: LocalStorage, tmp_path: Path) -> None:
    ids = [new_result_id() for _ in range(5)]
    for age, result_id in zip((50, 40, 30, 20, 10), ids, strict=True):
        store.save(result_id, {RESULT: b"{}"})
        then = time.time() - age
        os.utime(tmp_path / "data" / "results" / result_id, (then, then))
    store.sweep()
    assert {path.name for path in (tmp_path / "data" / "results").iterdir()} == set(ids[2:])


def test_results_past_their_age_are_removed(store: LocalStorage, tmp_path: Path) -> None:
    result_id = new_result_id()
    store.save(result_id, {RESULT: b"{}"})
    then = time.time() - 3601
    os.utime(tmp_path / "data" / "results" / result_id, (then, then))
    store.sweep()
    assert files_below(tmp_path) == []


def test_a_failed_save_leaves_nothing(store: LocalStorage, tmp_path: Path) -> None:
    result_id = new_result_id()
    with pytest.raises(OSError, match="missing"):
        store.save(result_id, {RESULT: b"{}", "missing/folder": b""})
    assert files_below(tmp_path) == []
    with pytest.raises(NotFound):
        store.load(result_id, RESULT)


def test_uploads_of_a_killed_process_are_swept_and_those_of_a_living_one_kept(tmp_path: Path) -> None:
    living = LocalStorage(tmp_path, 3, 3600)
    kept = living.new_spool() / "00001"
    kept.write_bytes(b"pixels")
    code = (
        "import os, pathlib, sys\n"
        "from gateway.storage import LocalStorage\n"
        "store = LocalStorage(pathlib.Path(sys.argv[1]), 3, 3600)\n"
        "(store.new_spool() / '00001').write_bytes(b'pixels')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False)
    assert len(files_below(tmp_path)) == 2
    LocalStorage(tmp_path, 3, 3600)
    assert files_below(tmp_path) == [kept]


def test_the_data_dir_is_private(store: LocalStorage, tmp_path: Path) -> None:
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert store.new_spool().stat().st_mode & 0o077 == 0


def test_closing_leaves_no_spool(store: LocalStorage, tmp_path: Path) -> None:
    store.new_spool()
    store.close()
    assert list((tmp_path / "data" / "spool").iterdir()) == []


def test_a_result_that_is_saved_twice_stays_as_it_was_first(store: LocalStorage, tmp_path: Path) -> None:
    result_id = new_result_id()
    store.save(result_id, {RESULT: b"first", "overlay.png": b"first"})
    store.save(result_id, {RESULT: b"second", "overlay.png": b"second"})
    assert {path.read_bytes() for path in files_below(tmp_path)} == {b"first"}


def test_a_deleted_result_is_gone_from_disk(store: LocalStorage, tmp_path: Path) -> None:
    result_id = new_result_id()
    store.save(result_id, {RESULT: b"{}"})
    store.delete(result_id)
    assert files_below(tmp_path) == []
    with pytest.raises(NotFound):
        store.delete(result_id)


@pytest.mark.parametrize("crafted", ["..", "", "../results"])
def test_nothing_is_deleted_by_a_crafted_id(store: LocalStorage, tmp_path: Path, crafted: str) -> None:
    with pytest.raises(NotFound):
        store.delete(crafted)
    store.delete_upload(crafted)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"results", "uploads", "spool"}


def test_an_upload_is_kept_in_order_until_it_is_deleted(store: LocalStorage, tmp_path: Path) -> None:
    upload_id, spool = new_result_id(), store.new_spool()
    for name in ("00002", "00001", "00010"):
        (spool / name).write_bytes(name.encode())
    store.put_upload(upload_id, spool)
    kept = store.get_upload(upload_id, store.new_spool())
    assert [path.read_bytes() for path in kept] == [b"00001", b"00002", b"00010"]
    assert [upload.upload_id for upload in store.uploads()] == [upload_id]
    store.delete_upload(upload_id)
    store.delete_upload(upload_id)
    assert list(store.uploads()) == []
    assert files_below(tmp_path) == []
    with pytest.raises(NotFound):
        store.get_upload(upload_id, store.new_spool())
