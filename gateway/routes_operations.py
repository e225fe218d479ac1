"""Health, metrics and models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import httpx
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, Field

from discgrade.errors import InferenceFailed, InferenceUnavailable, NotFound, Overloaded
from discgrade.result import ModelUsed
from gateway import openapi
from gateway.door import Scope
from gateway.door.http import principal_of, requires

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["router"]

_METRICS_SECONDS = 5.0

router = APIRouter(tags=["operations"])


class CanaryRelease(BaseModel):
    """A release that grades a share of the studies."""

    release: str = Field(description="Version of lumbar_grading.")
    share: float = Field(ge=0, le=1, description="Of the studies.")


class Models(BaseModel):
    """The models that grade."""

    models: list[ModelUsed]
    canary: CanaryRelease | None = Field(default=None, description="Beside them; null where there is none.")


class Caller(BaseModel):
    """Who is asking."""

    name: str = Field(
        description="As in the audit log: `key:NAME`, `oidc:SUBJECT`, or `anonymous` where the door is open."
    )
    scopes: list[Scope] = Field(description="What the caller may do.")


class Health(BaseModel):
    """Whether this process is well."""

    status: Literal["alive", "ready"]


@router.get(
    "/v1/models",
    summary="List the models",
    dependencies=[Depends(requires(None))],
    responses={200: openapi.MODELS_RESPONSE, **openapi.problem_responses(401, 429, 503)},
)
async def models(request: Request) -> Models:
    """Name, version and engine of every model behind the ensemble."""
    services: Services = request.state.services
    used, canary = await services.grader.models(), await services.grader.canary()
    beside = None if canary is None else CanaryRelease(release=canary.release, share=canary.share)
    return Models(models=used, canary=beside)


@router.get(
    "/v1/caller",
    summary="Who am I?",
    description="What the credentials of this request allow.",
    dependencies=[Depends(requires(None))],
    responses={200: openapi.CALLER_RESPONSE, **openapi.problem_responses(401, 429)},
)
async def caller(request: Request) -> Caller:
    """Name and scopes of the caller."""
    principal = principal_of(request)
    return Caller(name=principal.name, scopes=sorted(principal.scopes))


@router.get("/livez", summary="Is the process alive?", responses=openapi.problem_responses(500))
async def livez(request: Request) -> Health:
    """Answer 200 while the event loop runs, unless the embedded tritonserver was given up: only a restart helps."""
    services: Services = request.state.services
    if services.lost():
        raise InferenceFailed("tritonserver ended too often and is not started again.", "Restart discgrade serve.")
    return Health(status="alive")


@router.get("/readyz", summary="Can it grade now?", responses=openapi.problem_responses(503))
async def readyz(request: Request) -> Health:
    """Answer 200 only while tritonserver and the whole ensemble are ready."""
    services: Services = request.state.services
    if services.admission.closed:
        raise Overloaded("The server is shutting down.")
    if not await services.grader.ready():
        raise InferenceUnavailable("tritonserver, or a model of the ensemble, is not ready.")
    return Health(status="ready")


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    dependencies=[Depends(requires(Scope.METRICS))],
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **openapi.problem_responses(401, 403, 429),
    },
)
async def metrics(request: Request) -> Response:
    """What this process does and how well; docs/metrics.md describes each metric."""
    services: Services = request.state.services
    services.metrics.triton_ready.set(await services.grader.ready())
    await services.grader.canary()  # shows itself where it changed
    return Response(generate_latest(services.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get(
    "/metrics/triton",
    summary="Prometheus metrics of the embedded tritonserver",
    description="As tritonserver gives them; it listens on a port of the loopback interface that changes with each "
    "start. Another tritonserver is asked directly.",
    dependencies=[Depends(requires(Scope.METRICS))],
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **openapi.problem_responses(401, 403, 404, 429, 503),
    },
)
async def triton_metrics(request: Request) -> Response:
    """Pass on what the embedded tritonserver says of itself."""
    services: Services = request.state.services
    if services.triton_metrics_url is None:
        raise NotFound("This server has no tritonserver of its own.", "Read the metrics of its tritonserver directly.")
    try:
        async with httpx.AsyncClient(timeout=_METRICS_SECONDS, trust_env=False) as client:
            answer = (await client.get(services.triton_metrics_url)).raise_for_status()
    except httpx.HTTPError as error:
        raise InferenceUnavailable("The embedded tritonserver does not answer.") from error
    return Response(answer.content, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
