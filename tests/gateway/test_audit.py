"""The audit log: what it says, that it holds when processes die, and that tampering shows."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discgrade.errors import NoDiscsFound, ServiceError
from gateway.audit import Audit, Entry, audit_key
from gateway.audit_verify import verify
from gateway.door import ANONYMOUS
from gateway.workers import Workers
from tests.gateway.conftest import OpenClient, Parts

UID = "1.2.826.0.1.3680043.8.498.12345"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "log.jsonl"


@pytest.fixture
def key(tmp_path: Path, log: Path) -> bytes:
    return audit_key(tmp_path / "audit" / "key", log)


@pytest.fixture
def audit(log: Path, key: bytes) -> Audit:
    return Audit(log, key, Workers(1))


async def write(audit: Audit, count: int) -> None:
    for number in range(count):
        await audit.record("key:pacs", "grade", Entry(study_uid=f"{UID}.{number}"), "ok", None)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_bytes().splitlines()]


async def test_a_line_says_who_did_what_to_which_study_when_and_how_it_ended(audit: Audit, log: Path) -> None:
    async with audit.action(ANONYMOUS, "grade", "a request") as entry:
        entry.study_uid, entry.result_id = UID, "f" * 32
    (line,) = lines(log)
    assert (line["n"], line["who"], line["action"], line["outcome"]) == (1, "anonymous", "grade", "ok")
    assert (line["study"], line["result"], line["request"]) == (audit.study_hash(UID), "f" * 32, "a request")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert UID not in log.read_text()


async def test_failures_and_cancellations_are_told_apart(audit: Audit, log: Path) -> None:
    async def fails(error: BaseException) -> None:
        async with audit.action(ANONYMOUS, "grade", "r"):
            raise error

    for error in (NoDiscsFound("None."), asyncio.CancelledError(), RuntimeError("Mustermann")):
        with pytest.raises(type(error)):
            await fails(error)
    assert [line["outcome"] for line in lines(log)] == ["no-discs-found", "client-closed-request", "internal-error"]
    assert "Mustermann" not in log.read_text()


def test_the_hash_of_a_study_is_the_key_holders_alone(audit: Audit, log: Path) -> None:
    other = Audit(log, bytes(32), Workers(1))
    assert audit.study_hash(UID) == audit.study_hash(UID)
    assert audit.study_hash(UID) != other.study_hash(UID)


async def test_a_whole_log_verifies(audit: Audit, log: Path, key: bytes) -> None:
    await write(audit, 5)
    found = verify(log, key)
    assert (found.entries, found.torn, found.broken) == (5, (), None)
    assert found.head == f"5:{lines(log)[-1]['mac']}"
    await write(audit, 1)
    assert verify(log, key, head=found.head).broken is None


def swapped(content: list[bytes]) -> list[bytes]:
    content[2], content[3] = content[3], content[2]
    return content


TAMPERINGS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "changed": (lambda content: [*content[:2], content[2].replace(b"pacs", b"else"), *content[3:]], 3),
    "removed": (lambda content: content[:2] + content[3:], 3),
    "first removed": (lambda content: content[1:], 1),
    "doubled": (lambda content: [*content[:3], *content[2:]], 4),
    "swapped": (swapped, 3),
    "mac cut off": (lambda content: [*content[:2], content[2][:-80] + b"}\n", *content[3:]], 4),
    "added at the end": (lambda content: [*content, content[4].replace(b'"n":5', b'"n":6')], 6),
    "spaces put in": (lambda content: [*content[:2], content[2].replace(b'":"ok"', b'": "ok"'), *content[3:]], 3),
}


@pytest.mark.parametrize("how", TAMPERINGS)
async def test_tampering_shows_where_it_was_done(audit: Audit, log: Path, key: bytes, how: str) -> None:
    tamper, place = TAMPERINGS[how]
    await write(audit, 5)
    log.write_bytes(b"".join(tamper(log.read_bytes().splitlines(keepends=True))))
    broken = verify(log, key).broken
    assert broken is not None
    assert broken.line == place


async def test_who_rebuilds_the_chain_needs_the_key(audit: Audit, log: Path, key: bytes) -> None:
    await write(audit, 3)
    broken = verify(log, bytes(32)).broken
    assert broken is not None
    assert broken.line == 1


async def test_lines_missing_at_the_end_show_by_a_head_noted_elsewhere(audit: Audit, log: Path, key: bytes) -> None:
    await write(audit, 5)
    noted = verify(log, key).head
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    assert verify(log, key).broken is None  # the chain alone cannot tell
    broken = verify(log, key, head=noted).broken
    assert broken is not None
    assert broken.line == 4


@pytest.mark.parametrize("cut", [1, 2, 40, 150])
async def test_a_line_cut_off_by_a_crash_does_not_break_the_chain(
    audit: Audit, log: Path, key: bytes, cut: int
) -> None:
    await write(audit, 3)
    os.truncate(log, log.stat().st_size - cut)
    await write(audit, 2)
    found = verify(log, key)
    assert found.broken is None
    whole = cut == 1  # only the end of the line was missing
    assert (found.entries, found.torn) == ((5, ()) if whole else (4, (3,)))


async def test_lines_longer_than_a_look_back_are_found(audit: Audit, log: Path, key: bytes) -> None:
    await write(audit, 2)
    with log.open("ab") as stream:
        stream.write(b"x" * 20_000)
    await write(audit, 1)
    found = verify(log, key)
    assert (found.entries, found.torn, found.broken) == (3, (3,), None)


def _write_many(log: Path, key: bytes, count: int) -> None:
    asyncio.run(write(Audit(log, key, Workers(1)), count))


async def test_several_processes_share_one_chain(log: Path, key: bytes) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(log, key, 20)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    found = verify(log, key)
    assert (found.entries, found.broken) == (60, None)


async def test_writers_that_are_killed_leave_a_whole_chain(log: Path, key: bytes) -> None:
    context = multiprocessing.get_context("spawn")
    for wanted in (5, 10):
        writers = [context.Process(target=_write_many, args=(log, key, 1_000_000)) for _ in range(2)]
        for writer in writers:
            writer.start()
        while not log.exists() or verify(log, key).entries < wanted:
            assert all(writer.is_alive() for writer in writers)
            await asyncio.sleep(0.01)
        for writer in writers:
            writer.kill()
            await asyncio.to_thread(writer.join)
    written = verify(log, key)
    await write(Audit(log, key, Workers(1)), 1)
    found = verify(log, key)
    assert found.broken is None
    assert found.entries == written.entries + 1


def test_a_log_without_its_key_is_not_gone_on_with(tmp_path: Path, log: Path, key: bytes) -> None:
    log.touch()
    (tmp_path / "audit" / "key").unlink()
    with pytest.raises(ServiceError, match="its key is not"):
        audit_key(tmp_path / "audit" / "key", log)


def test_a_damaged_key_is_told(tmp_path: Path, log: Path, key: bytes) -> None:
    (tmp_path / "audit" / "key").write_text("zz")
    with pytest.raises(ServiceError, match="damaged"):
        audit_key(tmp_path / "audit" / "key", log)


def test_key_and_log_are_their_owners_alone(tmp_path: Path, log: Path, audit: Audit) -> None:
    asyncio.run(write(audit, 1))
    for path in (tmp_path / "audit" / "key", log):
        assert path.stat().st_mode & 0o777 == 0o600


async def test_every_action_over_http_is_recorded_and_nothing_of_the_patient(
    open_client: OpenClient, study: Parts, data_dir: Path
) -> None:
    async with open_client() as client:
        graded = await client.post("/v1/grade", files=study)
        result_id = graded.json()["result_id"]
        await client.get(f"/v1/results/{result_id}")
        await client.get(f"/v1/results/{'0' * 32}/overlay.png")
        refused = await client.post("/v1/grade", files=[("files", b"Dear colleague")])
        await client.get("/livez")
    log = data_dir / "audit" / "log.jsonl"
    told = [(line["action"], line["outcome"], line.get("result")) for line in lines(log)]
    assert told == [
        ("grade", "ok", result_id),
        ("read result.json", "ok", result_id),
        ("read overlay.png", "not-found", None),
        ("grade", "unsupported-format", None),
    ]
    assert lines(log)[0]["study"]
    assert lines(log)[3]["request"] == refused.headers["x-request-id"]
    assert verify(log, audit_key(data_dir / "audit" / "key", log)).broken is None


async def test_what_cannot_be_recorded_fails(open_client: OpenClient, study: Parts, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    async with open_client(audit_log=log, audit_key_file=tmp_path / "key") as client:
        log.mkdir()
        answer = await client.post("/v1/grade", files=study)
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:discgrade:problem:internal-error"
