"""A DICOMweb server that answers in every wrong way, as a peer on a socket."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from discgrade.dicomweb import DicomwebReference
from discgrade.errors import Forbidden
from discgrade.grpc_client import NO_RETRY, AsyncGrpcClient
from tests.gateway.conftest import OpenClient, Parts
from tests.gateway.dicomweb.conftest import WriteServers
from tests.gateway.grpc_app import serving_grpc
from tests.support.certificates import make_authority, make_certificate
from tests.support.jobs import ended
from tests.support.server import running_server
from tests.support.truth import TruthGrader

BOUNDARY = "x" * 60
_RELATED = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
REFERENCE = {"dicomweb": {"server": "pacs", "study_uid": "1.2.3", "series_uid": "1.2.3.4"}}
STUDY = {"dicomweb": {"server": "pacs", "study_uid": "1.2.3"}}


def series(
    uid: str = "1.2.3.4", modality: str = "MR", instances: int | str | None = None, **text: str
) -> dict[str, Any]:
    tags = {"description": "0008103E", "protocol": "00181030"}
    found: dict[str, Any] = {"0020000E": {"vr": "UI", "Value": [uid]}, "00080060": {"vr": "CS", "Value": [modality]}}
    if instances is not None:
        found["00201209"] = {"vr": "IS", "Value": [instances]}
    return found | {tags[name]: {"vr": "LO", "Value": [value]} for name, value in text.items()}


def multipart(*instances: bytes, part_type: str = "application/dicom", end: bool = True) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    return b"".join(head + one + b"\r\n" for one in instances) + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def related(body: bytes, kind: str = 'multipart/related; type="application/dicom"') -> Response:
    return Response(body, media_type=f"{kind}; boundary={BOUNDARY}")


class Peer:
    """Answers searches and retrievals as a test says, and notes what it was asked.

    Attributes:
        url: Of its DICOMweb services.
        search: Makes the answer to a search for series.
        retrieve: Makes the answer to a retrieval of a series.
        asked: Requests so far.
    """

    def __init__(self, study: Parts) -> None:
        self.url = ""
        self.instances = [content for _, (_, content) in study]
        self.search: Callable[[], Response] = lambda: JSONResponse([series(instances=len(self.instances))])
        self.retrieve: Callable[[], Response] = lambda: related(multipart(*self.instances))
        self.asked: list[Request] = []

    def app(self) -> FastAPI:
        app = FastAPI()

        async def find(request: Request) -> Response:
            self.asked.append(request)
            return self.search()

        async def get(request: Request) -> Response:
            self.asked.append(request)
            return self.retrieve()

        app.add_route("/dicom-web/studies/{study}/series", find)
        app.add_route("/dicom-web/studies/{study}/series/{series}", get)
        return app


@pytest.fixture
def peer(study: Parts) -> Iterator[Peer]:
    peer = Peer(study)
    with running_server(peer.app()) as root:
        peer.url = f"{root}/dicom-web"
        yield peer


async def silence() -> AsyncIterator[bytes]:
    yield multipart(b"DICM", end=False)
    await asyncio.sleep(3600)


async def breaks_off() -> AsyncIterator[bytes]:
    yield multipart(b"DICM", end=False)
    raise ConnectionError


def status(code: int, **headers: str) -> Callable[[], Response]:
    return lambda: JSONResponse({"Patient": "Mustermann"}, code, {k.replace("_", "-"): v for k, v in headers.items()})


SEARCHES: dict[str, tuple[Callable[[], Response], int, str]] = {
    "busy": (status(503, Retry_After="7"), 503, "pacs-unavailable"),
    "bad gateway": (status(502), 503, "pacs-unavailable"),
    "broken": (status(500), 502, "pacs-failed"),
    "refuses the query": (status(400), 502, "pacs-failed"),
    "unauthorized": (status(401), 502, "pacs-refused"),
    "forbidden": (status(403), 502, "pacs-refused"),
    "not there": (status(404), 422, "study-not-found"),
    "no content": (lambda: Response(status_code=204), 422, "study-not-found"),
    "empty list": (lambda: JSONResponse([]), 422, "study-not-found"),
    "another series": (lambda: JSONResponse([series("1.2.3.5")]), 422, "study-not-found"),
    "an error as JSON": (lambda: JSONResponse({"error": "Mustermann"}), 502, "pacs-failed"),
    "no objects": (lambda: JSONResponse([1, 2]), 502, "pacs-failed"),
    "no JSON": (lambda: Response(b"<html>Mustermann</html>"), 502, "pacs-failed"),
    "deep JSON": (lambda: Response(b"[" * 200_000), 502, "pacs-failed"),
    "endless JSON": (lambda: Response(b" " * 9_000_000), 502, "pacs-failed"),
    "a UID that leads elsewhere": (lambda: JSONResponse([series("../../admin")]), 502, "pacs-failed"),
    "redirect": (lambda: RedirectResponse("http://169.254.169.254/"), 502, "pacs-failed"),
    "compressed": (lambda: Response(b"[]", headers={"Content-Encoding": "gzip"}), 502, "pacs-failed"),
    "more than allowed": (lambda: JSONResponse([series(instances=100_000)]), 413, "upload-too-large"),
}
RETRIEVALS: dict[str, tuple[Callable[[], Response], int, str]] = {
    "gone meanwhile": (status(404), 422, "study-not-found"),
    "not acceptable": (status(406), 502, "pacs-failed"),
    "a part of it": (lambda: Response(multipart(b"DICM"), 206), 502, "pacs-failed"),
    "nothing": (lambda: Response(status_code=204), 502, "pacs-failed"),
    "one DICOM file": (lambda: Response(b"DICM", media_type="application/dicom"), 502, "pacs-failed"),
    "no boundary": (lambda: Response(b"", media_type="multipart/related"), 502, "pacs-failed"),
    "no multipart": (lambda: related(b"Mustermann"), 502, "pacs-failed"),
    "malformed": (lambda: related(b"--" + b"y" * 60 + b"\r\n"), 502, "pacs-failed"),
    "pictures": (lambda: related(multipart(b"PNG", part_type="image/png")), 502, "pacs-failed"),
    "fewer instances": (lambda: related(multipart(b"DICM")), 502, "pacs-failed"),
    "cut, and well ended": (lambda: related(multipart(b"DICM", end=False)), 503, "pacs-unavailable"),
    "cut, and broken off": (lambda: StreamingResponse(breaks_off(), 200, _RELATED), 503, "pacs-unavailable"),
    "silent": (lambda: StreamingResponse(silence(), 200, _RELATED), 504, "pacs-timeout"),
    "endless header": (lambda: related(b"--" + BOUNDARY.encode() + b"\r\nA: " + b"a" * 9000), 502, "pacs-failed"),
    "too large": (lambda: related(multipart(b"x" * 3_000_000)), 413, "upload-too-large"),
    "no DICOM": (lambda: related(multipart(*[b"Mustermann"] * 5)), 415, "unsupported-format"),
}


@pytest.mark.parametrize(
    "how", [*(("search", name) for name in SEARCHES), *(("retrieve", name) for name in RETRIEVALS)]
)
async def test_every_wrong_answer_has_its_problem(
    open_client: OpenClient, peer: Peer, write_servers: WriteServers, data_dir: Path, how: tuple[str, str]
) -> None:
    step, name = how
    answer, code, slug = (SEARCHES if step == "search" else RETRIEVALS)[name]
    setattr(peer, step, answer)
    servers = write_servers(pacs={"url": peer.url, "idle_seconds": 0.3})
    async with open_client(dicomweb_file=servers, max_upload_bytes=2_000_000) as client:
        got = await client.post("/v1/grade", json=REFERENCE)
        assert (got.status_code, got.json()["type"]) == (code, f"urn:discgrade:problem:{slug}")
        for secret in ("Mustermann", "1.2.3", peer.url):
            assert secret not in got.text
        if name == "busy":
            assert got.headers["retry-after"] == "7"
        outcome = "ok" if name == "no DICOM" else slug  # which is found after it was fetched
        metrics = (await client.get("/metrics")).text
        assert f'discgrade_dicomweb_fetches_total{{outcome="{outcome}",server="pacs"}} 1.0' in metrics
        assert [path for path in (data_dir / "spool").glob("*/*") if path.is_dir()] == []


async def test_a_fetch_has_an_end(open_client: OpenClient, peer: Peer, write_servers: WriteServers) -> None:
    peer.retrieve = lambda: StreamingResponse(silence(), 200, _RELATED)
    servers = write_servers(pacs={"url": peer.url, "fetch_seconds": 0.3})
    async with open_client(dicomweb_file=servers) as client:
        got = await client.post("/v1/grade", json=REFERENCE)
    assert (got.status_code, got.json()["type"]) == (504, "urn:discgrade:problem:pacs-timeout")


BODIES: dict[str, Any] = {
    "no JSON": b"{",
    "no object": b"[]",
    "nothing": b"",
    "another field": {**STUDY, "Mustermann": 1},
    "no server": {"dicomweb": {"study_uid": "1.2.3"}},
    "an address": {"dicomweb": {"server": "http://169.254.169.254", "study_uid": "1.2.3"}},
    "unknown server": {"dicomweb": {"server": "other", "study_uid": "1.2.3"}},
    "a UID too long": {"dicomweb": {"server": "pacs", "study_uid": "1." + "2" * 63}},
    "a UID that leads elsewhere": {"dicomweb": {"server": "pacs", "study_uid": "../../admin"}},
    "a UID with a leading zero": {"dicomweb": {"server": "pacs", "study_uid": "1.02"}},
    "a UID with a line end": {"dicomweb": {"server": "pacs", "study_uid": "1.2.3\n"}},
    "a number": {"dicomweb": {"server": "pacs", "study_uid": 1.2}},
    "too long": {"dicomweb": {"server": "pacs", "study_uid": "1.2.3", "Mustermann": "x" * 10_000}},
}


@pytest.mark.parametrize("route", ["/v1/grade", "/v1/jobs"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_malformed_reference_is_refused_before_anybody_is_asked(
    open_client: OpenClient, peer: Peer, write_servers: WriteServers, body: Any, route: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with open_client(dicomweb_file=write_servers(pacs={"url": peer.url})) as client:
        got = await client.post(route, content=content, headers={"Content-Type": "application/json"})
    assert (got.status_code, got.json()["type"]) == (400, "urn:discgrade:problem:invalid-request")
    assert "Mustermann" not in got.text
    assert peer.asked == []


async def test_a_server_may_be_for_some_callers_only(
    open_client: OpenClient, grader: TruthGrader, data_dir: Path, peer: Peer, write_servers: WriteServers
) -> None:
    others = write_servers(pacs={"url": peer.url, "callers": ["key:ward"]})
    async with open_client(dicomweb_file=others) as client:
        for route in ("/v1/grade", "/v1/jobs"):
            got = await client.post(route, json=STUDY)
            assert (got.status_code, got.json()["type"]) == (403, "urn:discgrade:problem:forbidden")
    async with (
        serving_grpc(grader, data_dir, dicomweb_file=others) as server,
        AsyncGrpcClient(server.target, retry=NO_RETRY) as client_of_grpc,
    ):
        with pytest.raises(Forbidden):
            await client_of_grpc.grade(DicomwebReference.model_validate(STUDY["dicomweb"]))
    assert peer.asked == []
    async with open_client(dicomweb_file=write_servers(pacs={"url": peer.url, "callers": ["anonymous"]})) as client:
        assert (await client.post("/v1/grade", json=STUDY)).status_code == 201


async def test_only_series_that_may_be_graded_are_fetched(
    open_client: OpenClient, peer: Peer, write_servers: WriteServers
) -> None:
    peer.search = lambda: JSONResponse(
        [
            series("1.1", "SEG"),
            series("1.2", "SR"),
            series("1.3", description="Localizer"),
            series("1.4", description="ep2d DWI", protocol="x"),
            series("1.5", instances=0),
            series("1.6", instances=str(len(peer.instances)), description="t2_tse_sag"),
        ]
    )
    async with open_client(dicomweb_file=write_servers(pacs={"url": peer.url})) as client:
        assert (await client.post("/v1/grade", json=STUDY)).status_code == 201
        assert [request.url.path.rpartition("/")[2] for request in peer.asked[1:]] == ["1.6"]
        peer.search = lambda: JSONResponse([series("1.1", "SR"), series("1.2", "PR")])
        got = await client.post("/v1/grade", json=STUDY)
        assert (got.status_code, got.json()["type"]) == (422, "urn:discgrade:problem:wrong-modality")
        peer.search = lambda: JSONResponse([series("1.3", description="Localizer")])
        await client.post("/v1/grade", json=STUDY)
        assert peer.asked[-1].url.path.endswith("/1.3")


async def test_a_token_is_shown_and_never_told(
    open_client: OpenClient, peer: Peer, write_servers: WriteServers, tmp_path: Path, logged: list[dict[str, Any]]
) -> None:
    (tmp_path / "token").write_text("geheimes-token\n")
    servers = write_servers(pacs={"url": peer.url, "token_file": str(tmp_path / "token")})
    async with open_client(dicomweb_file=servers) as client:
        assert (await client.post("/v1/grade", json=REFERENCE)).status_code == 201
        assert {request.headers["authorization"] for request in peer.asked} == {"Bearer geheimes-token"}
        assert "transfer-syntax=*" in peer.asked[-1].headers["accept"]
        (tmp_path / "token").unlink()
        got = await client.post("/v1/grade", json=REFERENCE)
        assert (got.status_code, got.json()["type"]) == (502, "urn:discgrade:problem:pacs-refused")
    for secret in ("geheimes-token", str(tmp_path), "1.2.3"):
        assert secret not in got.text + json.dumps(logged)


async def test_both_sides_show_certificates(
    open_client: OpenClient, study: Parts, write_servers: WriteServers, tmp_path: Path
) -> None:
    peer = Peer(study)
    ca = tmp_path / "ca.pem"
    cert, key = make_certificate(make_authority(ca), tmp_path, "localhost")
    trusted, shown = {"ca": str(ca)}, {"client_cert": str(cert), "client_key": str(key)}
    asks = {"ssl_ca_certs": str(ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    with running_server(peer.app(), ssl_certfile=str(cert), ssl_keyfile=str(key), **asks) as root:
        outcomes = {}
        for name, files in {"both": {**trusted, **shown}, "not shown": trusted, "not trusted": shown}.items():
            servers = write_servers(pacs={"url": f"{root}/dicom-web", **files})
            async with open_client(dicomweb_file=servers) as client:
                outcomes[name] = (await client.post("/v1/grade", json=REFERENCE)).status_code
    assert outcomes == {"both": 201, "not shown": 503, "not trusted": 503}


async def test_a_job_gives_up_a_server_that_answers_nonsense(
    open_client: OpenClient, peer: Peer, write_servers: WriteServers, data_dir: Path
) -> None:
    peer.search = lambda: Response(b"<html>")
    servers = write_servers(pacs={"url": peer.url})
    async with open_client(dicomweb_file=servers, run_worker=True, job_attempts=2) as client:
        job = await ended(client, (await client.post("/v1/jobs", json=STUDY)).json()["job_id"])
        assert 'discgrade_jobs_ended_total{outcome="pacs-failed"} 1.0' in (await client.get("/metrics")).text
    assert (job["state"], job["problem"]["type"]) == ("failed", "urn:discgrade:problem:pacs-failed")
    assert len(peer.asked) == 2
    assert list((data_dir / "uploads").iterdir()) == []


async def test_grpc_takes_references_too(
    grader: TruthGrader, data_dir: Path, peer: Peer, write_servers: WriteServers
) -> None:
    async with (
        serving_grpc(grader, data_dir, dicomweb_file=write_servers(pacs={"url": peer.url})) as server,
        AsyncGrpcClient(server.target, retry=NO_RETRY) as client,
    ):
        result = await client.grade(DicomwebReference.model_validate(STUDY["dicomweb"]))
        assert len(result.discs) == 7
        malformed = DicomwebReference.model_construct(server="pacs", study_uid="1.2/../3", series_uid=None)
        with pytest.raises(Exception, match="malformed"):
            await client.grade(malformed)
    assert len(peer.asked) == 2
