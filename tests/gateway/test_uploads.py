from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from discgrade.errors import DiscgradeError, EmptyUpload, InvalidRequest, UploadTimeout, UploadTooLarge
from gateway.multipart import UploadLimits
from gateway.uploads import receive
from gateway.workers import Workers

LIMITS = UploadLimits(bytes=10_000, files=5, idle_seconds=5.0)


def form(*bodies: bytes, name: str = "files", filename: str = "Mustermann^Erika.dcm") -> bytes:
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'.encode()
    return b"".join(head + body + b"\r\n" for body in bodies) + b"--XX--\r\n"


def request_of(
    chunks: list[bytes], *, content_type: str = "multipart/form-data; boundary=XX", length: int | None = None,
    then: str = "end",
) -> Request:  # fmt: skip
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def next_message() -> Message:
        if messages:
            return messages.pop(0)
        if then == "silence":
            await asyncio.Event().wait()
        if then == "disconnect":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"content-type", content_type.encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, next_message)


async def received(folder: Path, request: Request, limits: UploadLimits = LIMITS) -> list[bytes]:
    return [path.read_bytes() for path in await receive(request, folder, limits, Workers(1))]


async def test_files_arrive_in_order_under_names_of_ours(tmp_path: Path) -> None:
    assert await received(tmp_path, request_of([form(b"one", b"", b"three")])) == [b"one", b"three"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00001", "00003"]


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(st.binary(min_size=1, max_size=200) | st.just(b"\r\n--X\r\n--XX"[:9]), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 1200), max_size=12),
)
def test_any_chunking_gives_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], cuts: list[int]
) -> None:
    data = form(*bodies)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:stop] for start, stop in pairwise(edges)]
    assert asyncio.run(received(tmp_path_factory.mktemp("spool"), request_of(chunks))) == bodies


HEADERS = b'--XX\r\nContent-Disposition: form-data; name="files"\r\n'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", EmptyUpload),
        (b"--XX--\r\n", EmptyUpload),
        (form(b""), EmptyUpload),
        (form(b"data", name="file"), InvalidRequest),
        (b"--XX\r\n\r\ndata\r\n--XX--\r\n", InvalidRequest),
        (b"not multipart at all", InvalidRequest),
        (form(b"data")[:-8], InvalidRequest),
        (HEADERS, InvalidRequest),
        (HEADERS + b"A: " + b"a" * 5000 + b"\r\n\r\ndata\r\n--XX--\r\n", InvalidRequest),
        (HEADERS + b"A: a\r\n" * 20 + b"\r\ndata\r\n--XX--\r\n", InvalidRequest),
        (form(*[b"x"] * 6), UploadTooLarge),
        (form(b"x" * 10_001), UploadTooLarge),
        (form(b"x" * 5_000, b"x" * 5_001), UploadTooLarge),
        (form(b"x" * 10_000), None),
    ],
)
async def test_limits_and_malformed_bodies(tmp_path: Path, body: bytes, error: type[DiscgradeError] | None) -> None:
    if error is None:
        assert await received(tmp_path, request_of([body])) == [b"x" * 10_000]
    else:
        with pytest.raises(error):
            await received(tmp_path, request_of([body]))


async def test_framing_without_files_is_bounded_too(tmp_path: Path) -> None:
    with pytest.raises(UploadTooLarge):
        await received(tmp_path, request_of([form(b"x"), b"epilogue" * 4000]))


async def test_a_limit_stops_the_writing_at_once(tmp_path: Path) -> None:
    chunks = [form(b"x" * 300_000)[:-8], *[b"x" * 300_000] * 20]
    with pytest.raises(UploadTooLarge):
        await received(tmp_path, request_of(chunks))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= LIMITS.bytes


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        ("application/json", InvalidRequest),
        ("multipart/form-data", InvalidRequest),
        ("multipart/form-data; boundary=" + "x" * 300, InvalidRequest),
    ],
)
async def test_content_type(tmp_path: Path, content_type: str, error: type[DiscgradeError]) -> None:
    with pytest.raises(error):
        await received(tmp_path, request_of([form(b"x")], content_type=content_type))


async def test_a_declared_length_over_the_limit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UploadTooLarge):
        await received(tmp_path, request_of([form(b"x")], length=10**9))
    assert list(tmp_path.iterdir()) == []


async def test_silence_ends_the_wait(tmp_path: Path) -> None:
    limits = UploadLimits(bytes=10_000, files=5, idle_seconds=0.05)
    with pytest.raises(UploadTimeout):
        await received(tmp_path, request_of([HEADERS], then="silence"), limits)


async def test_a_client_that_leaves_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ClientDisconnect):
        await received(tmp_path, request_of([HEADERS], then="disconnect"))


async def test_a_refused_client_that_still_sends_gets_its_answer(open_client: object) -> None:
    """The rest of the body is read, else the client would see a reset connection."""
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield b"x" * 65536

    async with open_client(max_upload_bytes=1000) as client:  # type: ignore[operator]
        headers = {"Content-Type": "multipart/form-data; boundary=XX"}
        answer: httpx.Response = await client.post("/v1/grade", content=body(), headers=headers)
    assert answer.status_code == 413 or answer.status_code == 400
    assert sent == 64
