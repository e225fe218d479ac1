"""What is counted of requests, calls, storage and jobs; Triton's metrics through the gateway; traces of gRPC calls."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from opentelemetry.trace import format_trace_id
from prometheus_client import CollectorRegistry, generate_latest

from discgrade.errors import (
    InferenceUnavailable,
    NotFound,
    PacsUnavailable,
    ServiceError,
    StorageUnavailable,
    UnsupportedFormat,
)
from gateway import tracing
from gateway.app import create_app
from gateway.outcomes import CLASSES, outcome_class, outcome_of
from gateway.settings import Settings
from gateway.storage.local import LocalStorage
from gateway.storage.measured import MeasuredStorage
from gateway.telemetry.traffic import Traffic
from tests.gateway.conftest import OpenClient, Parts
from tests.gateway.grpc_app import grade_requests, serving_grpc
from tests.gateway.test_operations import samples
from tests.gateway.test_tracing import CALLER
from tests.support.collector import recording
from tests.support.processes import free_port
from tests.support.server import running_server
from tests.support.truth import TruthGrader


async def test_requests_are_counted_by_template(client: httpx.AsyncClient, study: Parts) -> None:
    await client.post("/v1/grade", files=study)
    await client.get("/v1/results/Mustermann")
    await client.request("MUSTERMANN", "/Mustermann")
    after = await samples(client)
    counted = {name[1] for name, value in after.items() if name[0] == "discgrade_http_requests_total" and value}
    assert counted == {"POST//v1/grade/201", "GET//v1/results/{result_id}/404", "other/unmatched/404"}
    assert after["discgrade_http_seconds_count", "/v1/grade"] == 1
    assert after["discgrade_storage_seconds_count", "save/ok"] == 1


async def test_a_study_that_waits_is_counted(client: httpx.AsyncClient, grader: TruthGrader, study: Parts) -> None:
    grader.hold = asyncio.Event()
    request = asyncio.create_task(client.post("/v1/grade", files=study))
    await grader.started.wait()
    during = await samples(client)
    grader.hold.set()
    await request
    after = await samples(client)
    assert during["discgrade_grade_in_flight", ""] == 1
    assert during["discgrade_admission_slices", "running"] == 5
    assert after["discgrade_admission_slices", "running"] == 0
    assert after["discgrade_admission_limit_slices", "running"] == 160
    assert after["discgrade_queue_wait_seconds_count", ""] == 1
    assert after["discgrade_stored_bytes_total", ""] > 1000


async def test_the_ensemble_is_asked_at_each_scrape(client: httpx.AsyncClient, grader: TruthGrader) -> None:
    assert (await samples(client))["discgrade_triton_ready", ""] == 1
    grader.is_ready = False
    assert (await samples(client))["discgrade_triton_ready", ""] == 0


async def test_jobs_are_timed_and_their_repetitions_counted(
    open_client: OpenClient, grader: TruthGrader, study: Parts
) -> None:
    async with open_client(run_worker=True, job_attempts=3) as client:
        grader.error = InferenceUnavailable("Away.")
        job = (await client.post("/v1/jobs", files=study)).json()
        async with asyncio.timeout(60):
            while (await samples(client)).get(("discgrade_job_retries_total", "inference-unavailable")) == 0:
                await asyncio.sleep(0.05)
            grader.error = None
            while (await client.get(f"/v1/jobs/{job['job_id']}")).json()["state"] != "succeeded":
                await asyncio.sleep(0.05)
        after = await samples(client)
    assert after["discgrade_job_retries_total", "inference-unavailable"] >= 1
    assert after["discgrade_job_wait_seconds_count", ""] == 1
    assert after["discgrade_job_seconds_count", "ok"] == 1
    assert after["discgrade_job_seconds_sum", "ok"] > after["discgrade_job_wait_seconds_sum", ""]
    assert after["discgrade_jobs_ended_total", "ok"] == 1
    assert after["discgrade_jobs_limit", ""] == 1000


def test_storage_is_timed_by_outcome(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    store = MeasuredStorage(LocalStorage(tmp_path, 10, 60.0), Traffic(registry))
    store.save("a" * 32, {"result.json": b"{}"})
    assert store.load("a" * 32, "result.json") == b"{}"
    with pytest.raises(NotFound):
        store.load("b" * 32, "result.json")
    text = generate_latest(registry).decode()
    for operation, outcome in (("save", "ok"), ("load", "ok"), ("load", "missing")):
        assert f'seconds_count{{operation="{operation}",outcome="{outcome}"}} 1.0' in text
    assert "discgrade_stored_bytes_total 2.0" in text


def test_outcomes_have_classes() -> None:
    failures = [NotFound("x"), StorageUnavailable("x"), PacsUnavailable("x"), asyncio.CancelledError(), ValueError("x")]
    assert [outcome_class(failure) for failure in failures] == ["refused", "error", "upstream", "left", "error"]
    assert {outcome_class(None)} | {outcome_class(failure) for failure in failures} < set(CLASSES)
    assert [outcome_of(failure) for failure in failures[3:]] == ["client-closed-request", ServiceError.slug]


async def test_another_tritonserver_is_asked_directly(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics/triton")
    assert (answer.status_code, answer.json()["type"]) == (404, NotFound.problem_type())


def test_the_embedded_tritonservers_metrics_are_passed_on(grader: TruthGrader, data_dir: Path) -> None:
    triton = FastAPI()
    triton.add_api_route("/metrics", lambda: PlainTextResponse("nv_inference_count 1\n"))
    settings = Settings(data_dir=data_dir, run_worker=False)
    with running_server(triton) as there:
        with running_server(create_app(settings, lambda: grader, triton_metrics_url=f"{there}/metrics")) as url:
            answer = httpx.get(f"{url}/metrics/triton", trust_env=False)
            assert (answer.status_code, answer.text) == (200, "nv_inference_count 1\n")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        away = create_app(settings, lambda: grader, triton_metrics_url=f"http://127.0.0.1:{free_port()}/metrics")
        with running_server(away) as url:
            answer = httpx.get(f"{url}/metrics/triton", trust_env=False)
            assert (answer.status_code, answer.json()["type"]) == (503, InferenceUnavailable.problem_type())


async def test_grpc_calls_are_counted_and_traced(grader: TruthGrader, data_dir: Path, study: Parts) -> None:
    with recording() as spans:
        async with serving_grpc(grader, data_dir) as opened:
            files = [content for _, (_, content) in study]
            await opened.stub.Grade(iter(grade_requests(files)), metadata=[("traceparent", CALLER)])
            with pytest.raises(grpc.aio.AioRpcError):
                await opened.stub.Grade(iter(grade_requests([b"no image"])))
            text = generate_latest(opened.services.metrics.registry).decode()
    method = "/discgrade.v1.GradingService/Grade"
    assert f'discgrade_grpc_calls_total{{code="OK",method="{method}"}} 1.0' in text
    assert f'discgrade_grpc_calls_total{{code="INVALID_ARGUMENT",method="{method}"}} 1.0' in text
    calls = [span for span in spans.get_finished_spans() if span.name == method[1:]]
    assert [span.status.is_ok or span.status.description is None for span in calls] == [True, True]
    assert [(span.attributes or {}).get(tracing.OUTCOME) for span in calls] == [None, UnsupportedFormat.slug]
    assert calls[0].parent is not None
    assert format_trace_id(calls[0].parent.trace_id) == CALLER[3:35]


def test_traces_say_what_they_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ServiceError, match="package") as caught, tracing.exporting("http://127.0.0.1:4318", 1.0):
        pass
    assert "discgrade[traces]" in str(caught.value.advice)
