"""The same storage in a bucket, against a server that speaks S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from discgrade.errors import NotFound, StorageUnavailable
from gateway.settings import Settings
from gateway.storage import OVERLAY, RESULT, Storage, new_result_id, open_storage
from tests.gateway.conftest import OpenClient, Parts
from tests.support.bucket import running_bucket
from tests.support.jobs import ended


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with running_bucket() as environment:
        yield environment


@pytest.fixture
def url(bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix of the test's own in the bucket; the environment is that of its clients."""
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    return f"s3://studies/{new_result_id()}"


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Storage]:
    opened = open_storage(url, tmp_path, keep_results=3, keep_seconds=3600)
    yield opened
    opened.close()
    assert list((tmp_path / "spool").iterdir()) == []


def filled_spool(store: Storage, files: dict[str, bytes]) -> Path:
    spool = store.new_spool()
    for name, content in files.items():
        (spool / name).write_bytes(content)
    return spool


def test_a_result_is_whole_and_stays_as_it_was_first(store: Storage) -> None:
    result_id = new_result_id()
    store.save(result_id, {RESULT: b"first", OVERLAY: b"png"})
    store.save(result_id, {RESULT: b"second"})
    assert store.load(result_id, RESULT) == b"first"
    assert store.load(result_id, OVERLAY) == b"png"
    with pytest.raises(NotFound):
        store.load(result_id, "another.file")


def test_what_is_added_stays_as_it_was_first_and_goes_with_the_result(store: Storage) -> None:
    ids = [new_result_id(), new_result_id()]
    for result_id in ids:
        store.save(result_id, {RESULT: b"{}"})
        assert store.add(result_id, "report.sr.dcm", b"first") == b"first"
    assert store.add(ids[0], "report.sr.dcm", b"second") == b"first"
    store.delete(ids[0])
    with pytest.raises(NotFound):
        store.add(ids[0], "report.sr.dcm", b"third")
    store.save(ids[0], {RESULT: b"{}"})
    with pytest.raises(NotFound):
        store.load(ids[0], "report.sr.dcm")
    assert store.load(ids[1], "report.sr.dcm") == b"first"


def test_the_sweep_takes_what_was_added_along(store: Storage) -> None:
    ids = [new_result_id() for _ in range(4)]
    for result_id in ids:
        store.save(result_id, {RESULT: b"{}"})
        store.add(result_id, "report.sr.dcm", result_id.encode())
    store.sweep()
    kept = left(store, ids)
    assert len(kept) == 3
    for result_id in kept:
        assert store.load(result_id, "report.sr.dcm") == result_id.encode()
    (swept,) = set(ids) - set(kept)
    store.save(swept, {RESULT: b"{}"})
    with pytest.raises(NotFound):
        store.load(swept, "report.sr.dcm")


def test_a_deleted_result_is_gone(store: Storage) -> None:
    result_id = new_result_id()
    store.save(result_id, {RESULT: b"{}"})
    store.delete(result_id)
    with pytest.raises(NotFound):
        store.load(result_id, RESULT)
    with pytest.raises(NotFound):
        store.delete(result_id)


@pytest.mark.parametrize("crafted", ["0" * 32, "../../etc", "..", "", "A" * 32])
def test_an_unknown_or_crafted_id_is_not_found(store: Storage, crafted: str, tmp_path: Path) -> None:
    for attempt in (
        lambda: store.load(crafted, RESULT),
        lambda: store.delete(crafted),
        lambda: store.get_upload(crafted, tmp_path),
    ):
        with pytest.raises(NotFound):
            attempt()
    store.delete_upload(crafted)


def test_an_upload_is_kept_in_order_until_it_is_deleted(store: Storage) -> None:
    upload_id, large = new_result_id(), os.urandom(12 * 2**20)  # in more than one part
    store.put_upload(upload_id, filled_spool(store, {"00002": b"2", "00001": large, "00010": b"10"}))
    (kept,) = store.uploads()
    assert kept.upload_id == upload_id
    assert kept.age_seconds < 60
    files = store.get_upload(upload_id, store.new_spool())
    assert [file.read_bytes() for file in files] == [large, b"2", b"10"]
    store.delete_upload(upload_id)
    store.delete_upload(upload_id)
    assert list(store.uploads()) == []
    with pytest.raises(NotFound):
        store.get_upload(upload_id, store.new_spool())


def test_the_sweep_keeps_to_number_and_age(store: Storage, url: str, tmp_path: Path) -> None:
    ids = [new_result_id() for _ in range(5)]
    for result_id in ids:
        store.save(result_id, {RESULT: b"{}"})
    store.sweep()
    assert len(left(store, ids)) == 3
    strict = open_storage(url, tmp_path, keep_results=3, keep_seconds=-60)
    strict.sweep()
    strict.close()
    assert left(store, ids) == []


def left(store: Storage, ids: list[str]) -> list[str]:
    found = []
    for result_id in ids:
        try:
            store.load(result_id, RESULT)
        except NotFound:
            continue
        found.append(result_id)
    return found


def test_a_server_that_is_not_there_is_named_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: dict[str, str]
) -> None:
    for name, value in {**bucket, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    store = open_storage("s3://studies/x", tmp_path, 3, 3600)
    with pytest.raises(StorageUnavailable, match="does not answer"):
        store.load("0" * 32, RESULT)


@pytest.mark.parametrize("url", ["s3://", "gs://bucket", "/folder"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(storage_url=url)


async def test_a_job_lives_in_the_bucket(open_client: OpenClient, study: Parts, url: str, data_dir: Path) -> None:
    async with open_client(storage_url=url) as gateway:
        job_id = (await gateway.post("/v1/jobs", files=study)).json()["job_id"]
    async with open_client(storage_url=url, run_worker=True) as other:
        job = await ended(other, job_id)
        assert job["state"] == "succeeded"
        assert (await other.get(f"{job['result_url']}/overlay.png")).content.startswith(b"\x89PNG")
        assert (await other.delete(job["result_url"])).status_code == 204
        assert (await other.get(job["result_url"])).status_code == 404
    assert not (data_dir / "results").exists()
