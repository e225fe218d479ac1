from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from discgrade._retry import NO_RETRY, Retry, retry_after_seconds
from discgrade.client import AsyncClient, Client
from discgrade.errors import (
    InferenceTimeout,
    InferenceUnavailable,
    Overloaded,
    RateLimited,
    ServiceError,
    UnreadableFile,
)
from tests.discgrade.test_result import result

QUICK = Retry(attempts=3, first_seconds=0.001)


@pytest.mark.parametrize("error", [Overloaded("full"), RateLimited("often"), InferenceUnavailable("starting")])
def test_what_may_succeed_later_is_waited_for(error: ServiceError) -> None:
    retry = Retry(attempts=4, first_seconds=0.5, longest_seconds=20)
    for attempt in (1, 2, 3):
        waits = [retry.wait(attempt, error) or 0.0 for _ in range(50)]
        asked = error.retry_after_seconds or 0.0
        assert asked <= min(waits) < max(waits) <= asked + 0.5 * 2 ** (attempt - 1)
        assert len(set(waits)) > 1  # clients refused together must not come back together
    assert retry.wait(4, error) is None


def test_what_will_not_succeed_is_given_up() -> None:
    assert Retry().wait(1, UnreadableFile("damaged")) is None
    assert Retry().wait(1, InferenceTimeout("slow")) is None
    assert Retry(longest_seconds=10).wait(1, Overloaded("full", retry_after_seconds=11)) is None
    assert NO_RETRY.wait(1, Overloaded("full")) is None


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("7", None, 7.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:49 GMT", 10.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Sat, 01 Jan 2000 00:00:59 GMT", 0.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_retry_after(header: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, date) == seconds


class Server:
    """Answers with what it was given, one after the other."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        return self.answer()

    async def asynchronous(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(await request.aread())
        return self.answer()

    def answer(self) -> httpx.Response:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(error: RateLimited | Overloaded) -> httpx.Response:
    return httpx.Response(error.status, json=error.problem(), headers={"Retry-After": "0"})


def stumbling() -> Server:
    return Server(refused(RateLimited("often")), httpx.ConnectError("gone"), httpx.Response(201, json=result()))


def test_a_study_is_sent_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 300_000)
    server = stumbling()
    with Client("http://test", transport=httpx.MockTransport(server), retry=QUICK) as client:
        assert client.grade([path]).result_id == "0" * 32
    assert len(server.bodies) == 3
    assert all(b"x" * 300_000 in body for body in server.bodies)


async def test_a_study_is_sent_whole_again_from_an_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 300_000)
    server = stumbling()
    transport = httpx.MockTransport(server.asynchronous)
    async with AsyncClient("http://test", transport=transport, retry=QUICK) as client:
        assert (await client.grade([path])).result_id == "0" * 32
    assert len(server.bodies) == 3
    assert all(b"x" * 300_000 in body for body in server.bodies)


def test_the_last_refusal_is_raised() -> None:
    server = Server(*(refused(Overloaded("full")) for _ in range(3)))
    with (
        Client("http://test", transport=httpx.MockTransport(server), retry=QUICK) as client,
        pytest.raises(Overloaded) as caught,
    ):
        client.models()
    assert caught.value.retry_after_seconds == 0
    assert len(server.bodies) == 3


def test_a_job_keeps_its_key_when_it_is_submitted_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    keys: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            return refused(Overloaded("full"))
        return httpx.Response(202, json={"job_id": "a", "state": "queued", "created_at": "2026-01-01T00:00:00Z"})

    with Client("http://test", transport=httpx.MockTransport(handle), retry=QUICK) as client:
        client.submit([path])
        client.submit([path])
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("status", [429, 503])
def test_a_proxy_that_refuses_is_asked_again(status: int) -> None:
    busy = httpx.Response(status, text="busy", headers={"Retry-After": "0"})
    server = Server(busy, httpx.Response(200, json={"models": []}))
    with Client("http://test", transport=httpx.MockTransport(server), retry=QUICK) as client:
        assert client.models() == []
