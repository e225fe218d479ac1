from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from discgrade import errors
from discgrade.client import NO_RETRY, Client
from discgrade.errors import DiscgradeError, InferenceTimeout, InferenceUnavailable, InputError, ServiceError
from tests.discgrade.test_result import result

CONCRETE = [
    kind for kind in (getattr(errors, name) for name in errors.__all__) if kind not in (errors.DiscgradeError,)
]  # fmt: skip


def client_of(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> Client:
    def handle(request: httpx.Request) -> httpx.Response:
        request.read()
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client("http://test", transport=httpx.MockTransport(handle), retry=NO_RETRY)


def test_files_are_sent_whole_and_their_names_stay_here(tmp_path: Path) -> None:
    paths = [tmp_path / "Mustermann^Erika.dcm", tmp_path / "b.dcm"]
    for path, content in zip(paths, (b"x" * 600_000, b"\r\n--"), strict=True):
        path.write_bytes(content)
    seen: list[httpx.Request] = []
    with client_of(httpx.Response(201, json=result()), seen) as client:
        assert client.grade(paths).result_id == "0" * 32
    (request,) = seen
    body = request.content
    assert len(body) == int(request.headers["content-length"])
    assert "transfer-encoding" not in request.headers
    assert b"Mustermann" not in body
    assert body.count(b'name="files"') == 2
    assert b"x" * 600_000 in body


@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)
def test_a_problem_document_becomes_the_exception_it_was(kind: type[DiscgradeError]) -> None:
    problem = {**kind("What is wrong.", "What to do.").problem(), "instance": "urn:x", "request_id": "x"}
    with client_of(httpx.Response(kind.status, json=problem)) as client, pytest.raises(DiscgradeError) as caught:
        client.models()
    assert caught.value.problem_type() == kind.problem_type()
    assert (caught.value.detail, caught.value.advice) == ("What is wrong.", "What to do.")


@pytest.mark.parametrize(
    ("answer", "family"),
    [
        (httpx.Response(413, html="<h1>nginx</h1>"), InputError),
        (httpx.Response(502, text="Bad Gateway"), ServiceError),
        (httpx.Response(422, json={"type": "urn:discgrade:problem:from-the-future"}), InputError),
        (httpx.Response(500, json=["not", "a", "problem"]), ServiceError),
    ],
)
def test_an_answer_that_is_no_problem_document_of_ours(answer: httpx.Response, family: type[DiscgradeError]) -> None:
    with client_of(answer) as client, pytest.raises(family, match=str(answer.status_code)):
        client.models()


@pytest.mark.parametrize("content", [b"{}", b"<html>", b"[]"])
def test_an_answer_that_does_not_fit_the_contract(content: bytes) -> None:
    with client_of(httpx.Response(200, content=content)) as client:
        for call in (lambda: client.result("0" * 32), lambda: client.job("0" * 32), client.models):
            with pytest.raises(ServiceError, match="contract"):
                call()


@pytest.mark.parametrize(
    ("error", "kind"),
    [(httpx.ConnectError("refused"), InferenceUnavailable), (httpx.ReadTimeout("slow"), InferenceTimeout)],
)
def test_a_server_that_does_not_answer(error: Exception, kind: type[DiscgradeError]) -> None:
    with client_of(error) as client, pytest.raises(kind):
        client.models()


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (httpx.Response(200, json={"status": "ready"}), True),
        (httpx.Response(503, json=InferenceUnavailable("Starting.").problem()), False),
        (httpx.Response(502, text="Bad Gateway"), False),
        (httpx.ConnectError("refused"), False),
    ],
)
def test_ready_while_it_would_grade(answer: httpx.Response | Exception, ready: bool) -> None:
    with client_of(answer) as client:
        assert client.ready() is ready


def test_models_and_artefacts() -> None:
    models: list[dict[str, Any]] = [{"name": "disc_grading", "version": "2", "engine": "openvino"}]
    with client_of(httpx.Response(200, json={"models": models})) as client:
        assert [model.model_dump() for model in client.models()] == models
    with client_of(httpx.Response(200, content=b"bytes")) as client:
        assert client.segmentation("0" * 32) == client.overlay("0" * 32) == b"bytes"
    with client_of(httpx.Response(200, json=result())) as client:
        assert client.result("0" * 32).discs[0].level == "L4/L5"
