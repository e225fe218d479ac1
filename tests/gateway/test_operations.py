from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from discgrade.errors import InferenceFailed, InferenceUnavailable, NoT2Series
from gateway.metrics import STAGES
from tests.gateway.conftest import OpenClient, Parts
from tests.support.truth import TruthGrader


async def samples(client: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    """Name and label values (but le), joined, of every sample."""
    text = (await client.get("/metrics")).text
    return {
        (sample.name, "/".join(v for k, v in sample.labels.items() if k != "le")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


async def test_alive_while_triton_is_not_ready(client: httpx.AsyncClient, grader: TruthGrader) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ready"}
    grader.is_ready = False
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["type"] == InferenceUnavailable.problem_type()
    assert int(answer.headers["retry-after"]) > 0
    assert (await client.get("/livez")).json() == {"status": "alive"}


async def test_not_alive_once_triton_is_lost_for_good(client: httpx.AsyncClient, grader: TruthGrader) -> None:
    """An orchestrator restarts what is not alive; waiting for it to get ready would never end."""
    grader.is_ready, grader.lost = False, True
    answer = await client.get("/livez")
    assert (answer.status_code, answer.json()["type"]) == (500, InferenceFailed.problem_type())
    assert "Restart" in answer.json()["advice"]
    assert (await client.get("/readyz")).status_code == 503


async def test_models_are_listed(client: httpx.AsyncClient, grader: TruthGrader) -> None:
    expected = [{"name": "lumbar_grading", "version": "1", "engine": "ensemble"}]
    assert (await client.get("/v1/models")).json() == {"models": expected, "canary": None}
    grader.error = InferenceUnavailable("Gone.")
    assert (await client.get("/v1/models")).status_code == 503


async def test_metrics_count_each_outcome(client: httpx.AsyncClient, grader: TruthGrader, study: Parts) -> None:
    before = await samples(client)
    assert before["discgrade_grade_outcomes_total", "ok"] == 0
    await client.post("/v1/grade", files=study)
    grader.error = NoT2Series("Not T2.")
    await client.post("/v1/grade", files=study)
    await client.post("/v1/grade")
    after = await samples(client)
    outcomes = {label: value for (name, label), value in after.items() if name == "discgrade_grade_outcomes_total"}
    assert outcomes == {"ok": 1, "no-t2-series": 1, "empty-upload": 1}
    assert after["discgrade_grade_seconds_count", "ok"] == 1
    assert after["discgrade_grade_seconds_count", "refused"] == 2
    assert after["discgrade_grade_seconds_count", "error"] == 0
    for stage in STAGES:
        assert after["discgrade_stage_seconds_count", f"ok/{stage}"] == (1 if stage in STAGES[3:] else 2)
    assert after["discgrade_stage_seconds_count", "refused/inference"] == 1
    assert after["discgrade_stage_seconds_sum", "ok/inference"] <= after["discgrade_grade_seconds_sum", "ok"]
    assert after["discgrade_discs_per_study_count", "1"] == 1
    assert after["discgrade_discs_per_study_sum", "1"] == len(grader.phantom.levels)
    assert after["discgrade_grade_in_flight", ""] == 0


async def test_two_apps_keep_their_metrics_apart(open_client: OpenClient, study: Parts) -> None:
    async with open_client() as first, open_client() as second:
        await first.post("/v1/grade", files=study)
        assert (await samples(second))["discgrade_grade_outcomes_total", "ok"] == 0


async def test_a_uuid_as_request_id_is_kept_and_logged(client: httpx.AsyncClient, logged: list[dict[str, Any]]) -> None:
    wanted = str(uuid.uuid4())
    answer = await client.get("/v1/models", headers={"X-Request-ID": wanted})
    assert answer.headers["x-request-id"] == wanted
    (entry,) = logged
    assert entry["request_id"] == wanted
    assert entry["route"] == "/v1/models"
    assert entry["outcome"] == "ok"


async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/livez", headers={"X-Request-ID": "Erika Mustermann"})
    uuid.UUID(answer.headers["x-request-id"])


async def test_a_graded_request_logs_its_stages(
    client: httpx.AsyncClient, study: Parts, logged: list[dict[str, Any]]
) -> None:
    await client.post("/v1/grade", files=study)
    (entry,) = [entry for entry in logged if entry["event"] == "request"]
    assert {f"{stage}_ms" for stage in STAGES} <= entry.keys()
    assert (entry["status"], entry["route"], entry["outcome"]) == (201, "/v1/grade", "ok")


async def test_health_checks_are_not_logged_while_they_pass(
    client: httpx.AsyncClient, grader: TruthGrader, logged: list[dict[str, Any]]
) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        await client.get(path)
    assert logged == []
    grader.is_ready = False
    await client.get("/readyz")
    assert [entry["outcome"] for entry in logged] == ["inference-unavailable"]


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/v1/results/0123456789abcdef0123456789abcdef", 404, "not-found"),
        ("GET", "/v1/results/%2e%2e%2f%2e%2e/overlay.png", 404, "not-found"),
        ("GET", "/v1/results/nothing/segmentation.nii.gz", 404, "not-found"),
        ("GET", "/v1/grade", 405, "method-not-allowed"),
        ("DELETE", "/v1/models", 405, "method-not-allowed"),
        ("POST", "/v1/grade", 400, "empty-upload"),
    ],
)
async def test_what_is_not_there_is_a_problem_document(
    client: httpx.AsyncClient, method: str, path: str, status: int, slug: str
) -> None:
    answer = await client.request(method, path)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"urn:discgrade:problem:{slug}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"]
    assert problem["advice"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    if status == 405:
        assert answer.headers["allow"] == {"/v1/grade": "POST", "/v1/models": "GET"}[path]
