from __future__ import annotations

import asyncio
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from discgrade.errors import InvalidRequest, NoDiscsFound
from gateway.jobs.webhooks import NotDelivered, Webhooks, sign, signing_key
from gateway.settings import Settings
from tests.faults.receiver import Receiver
from tests.gateway.conftest import OpenClient, Parts
from tests.support.certificates import make_authority, make_certificate
from tests.support.jobs import ended
from tests.support.truth import TruthGrader

SECRET = "whsec_" + "q" * 44
MESSAGE = {"type": "job.succeeded", "data": {"job_id": "j", "state": "succeeded"}}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def private(receiver: Receiver) -> Webhooks:
    return Webhooks(signing_key(receiver.secret), allow_private=True)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    body = b'{"a":1}'
    theirs = Webhook(SECRET)
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    assert sign(signing_key(SECRET), "msg_1", 1_700_000_000, body) == theirs.sign("msg_1", at, body.decode())


@pytest.mark.parametrize("secret", ["", "whsec_", "q" * 44, "whsec_" + "q" * 8, "whsec_?" + "q" * 43])
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - base64's own is one of them
        signing_key(secret)
    with pytest.raises(ValueError, match="webhook_secret"):
        Settings.model_validate({"webhook_secret": secret})


def test_no_setting_shows_a_secret() -> None:
    settings = Settings.model_validate({"webhook_secret": SECRET, "jobs_database": "postgresql://u:hunter2@h/d"})
    assert SECRET not in repr(settings)
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "https:///path",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "https://example.org/#part",
        "https://example.org:0/",
        "https://example.org:port/",
        "https://[::1/",
        "//example.org/",
        "example.org",
        "",
        "https://exämple.org/",
        "https://example.org/" + "a" * 2000,
    ],
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Webhooks(b"k" * 24).check(url)


def test_webhooks_are_off_without_a_secret() -> None:
    with pytest.raises(InvalidRequest, match="sends no webhooks"):
        Webhooks(None).check("https://example.org/")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    ],
)
async def test_private_addresses_are_refused_for_good(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidRequest, match="private"):
        Webhooks(b"k" * 24).check(f"https://{host}/")
    with pytest.raises(NotDelivered, match="private") as caught:
        await Webhooks(b"k" * 24).send(f"https://{host}/", "msg_1", MESSAGE)
    assert caught.value.final


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Answer each look-up of a name with the next addresses; the names asked for."""
    asked: list[str] = []
    left = list(answers)

    async def getaddrinfo(_: object, host: str, port: int, **__: Any) -> list[Any]:
        if _is_address(host):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", getaddrinfo)
    return asked


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(NotDelivered, match="private"):
        await Webhooks(b"k" * 24).send("https://receiver.example/", "msg_1", MESSAGE)


async def test_the_address_that_was_checked_is_the_one_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve_to(monkeypatch, ["127.0.0.1"])  # a second look-up would fail
    url = receiver.url.replace("127.0.0.1", "receiver.example")
    await private(receiver).send(url, "msg_1", MESSAGE)
    assert receiver.seen == {"msg_1": 1}
    assert receiver.hosts == {url.split("/")[2]}
    assert asked == ["receiver.example"]


async def test_a_certificate_must_be_that_of_the_name(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = make_authority(tmp_path / "authority.pem")
    certificate, key = make_certificate(authority, tmp_path, "receiver.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.encrypt(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    url = receiver.url.replace("http://127.0.0.1", "https://receiver.example")
    resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])
    await private(receiver).send(url, "msg_1", MESSAGE)
    assert receiver.seen == {"msg_1": 1}
    with pytest.raises(NotDelivered, match="ConnectError"):
        await private(receiver).send(url.replace("receiver", "other"), "msg_2", MESSAGE)


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(307)
            self.send_header("Location", receiver.url)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Redirect) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(NotDelivered, match="status 307"):
                await private(receiver).send(f"http://127.0.0.1:{server.server_address[1]}/", "msg_1", MESSAGE)
        finally:
            server.shutdown()
            thread.join()
    assert receiver.seen == {}


async def delivered(receiver: Receiver, times: int = 1) -> None:
    async with asyncio.timeout(30):
        while sum(receiver.seen.values()) < times:
            await asyncio.sleep(0.05)


def settings(receiver: Receiver) -> dict[str, Any]:
    return {"webhook_secret": receiver.secret, "webhook_allow_private": True, "webhook_retry_seconds": 0.1}


async def test_a_receiver_is_told_once_the_job_ended(
    open_client: OpenClient, study: Parts, receiver: Receiver, grader: TruthGrader
) -> None:
    async with open_client(run_worker=True, **settings(receiver)) as client:
        for expected in ("succeeded", "failed"):
            job = (await client.post("/v1/jobs", files=study, headers={"Webhook-URL": receiver.url})).json()
            await delivered(receiver, 1 if expected == "succeeded" else 2)
            assert receiver.states[job["job_id"]] == {expected}
            assert (await client.get(f"/v1/jobs/{job['job_id']}")).json()["state"] == expected
            grader.error = NoDiscsFound("No lumbar spine is seen.")
        assert receiver.refused == 0


async def test_a_cancelled_job_is_told_too(open_client: OpenClient, study: Parts, receiver: Receiver) -> None:
    async with open_client(**settings(receiver)) as client:
        job = (await client.post("/v1/jobs", files=study, headers={"Webhook-URL": receiver.url})).json()
        await client.delete(f"/v1/jobs/{job['job_id']}")
        await client.delete(f"/v1/jobs/{job['job_id']}")
    async with open_client(run_worker=True, **settings(receiver)):
        await delivered(receiver)
    assert receiver.states == {job["job_id"]: {"cancelled"}}


async def test_a_failing_receiver_is_tried_again_under_the_same_id(open_client: OpenClient, study: Parts) -> None:
    with Receiver(failing=1.0) as receiver:
        async with open_client(run_worker=True, **settings(receiver)) as client:
            job = (await client.post("/v1/jobs", files=study, headers={"Webhook-URL": receiver.url})).json()
            await delivered(receiver, 2)
            await ended(client, job["job_id"])
        assert receiver.seen == {f"msg_{job['job_id']}": 2}


async def test_a_job_with_a_webhook_nobody_allowed_is_refused(client: Any, study: Parts) -> None:
    answer = await client.post("/v1/jobs", files=study, headers={"Webhook-URL": "https://example.org/"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "This server sends no webhooks.")
