"""``POST /v1/grade``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from discgrade.errors import Overloaded
from discgrade.result import DISCLAIMER, GradingResult
from gateway import intake, openapi, uploads
from gateway.admission import Ticket
from gateway.dataplane import Graded
from gateway.door import Scope
from gateway.door.http import principal_of, requires
from gateway.grading import grade_files, observed, spooled
from gateway.metrics import STAGES
from gateway.storage import RESULT

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["router"]

T = TypeVar("T")

router = APIRouter(prefix="/v1", tags=["grading"])


@router.post(
    "/grade",
    response_model=GradingResult,
    status_code=201,
    dependencies=[Depends(requires(Scope.GRADE))],
    summary="Grade one lumbar study",
    description=(
        "Send many DICOM files, one zip of DICOM files, or one NIfTI file as multipart form fields named `files`; or "
        "send JSON that names a study at a DICOMweb server which the operator has configured, and it is fetched. "
        "The sagittal T2 series is found, its discs are segmented, named and graded. "
        "File names and patient data are not logged; the upload itself is removed when the request ends. Of a DICOM "
        "series, what DICOM objects made of the result must repeat (patient, study, UIDs) is kept with the result. "
        f"{DISCLAIMER}"
    ),
    responses={
        201: openapi.RESULT_RESPONSE,
        **openapi.problem_responses(400, 401, 403, 408, 413, 415, 422, 429, 502, 503, 504),
    },
    openapi_extra={"requestBody": openapi.STUDY_BODY},
)
async def grade(request: Request) -> Response:
    """Receive or fetch a study, grade it, keep the result."""
    services: Services = request.state.services
    async with (
        services.audit.action(principal_of(request), "grade", request.state.request_id) as entry,
        observed(services.metrics),
        _admitted(services, request) as ticket,
        spooled(services) as (folder, workdir),
    ):
        started = time.perf_counter()
        reference = await uploads.reference(request, services.upload_limits.idle_seconds)
        if reference is None:
            files = await intake.received(services, request, folder)
        else:
            services.dicomweb.check(reference, principal_of(request).name)
            entry.study_uid = reference.study_uid
            files = await _unless_client_leaves(request, partial(intake.fetched, services, reference, folder))
        upload_ms = (time.perf_counter() - started) * 1000

        async def work() -> Graded:
            return await grade_files(services, files, workdir, upload_ms=upload_ms, ticket=ticket)

        graded = await _unless_client_leaves(request, work)
        entry.study_uid, entry.result_id = graded.study_uid, graded.result.result_id
        request.state.timings_ms = {f"{stage}_ms": graded.result.timings_ms[stage] for stage in STAGES}
    headers = {"Location": f"/v1/results/{graded.result.result_id}", "Cache-Control": "no-store"}
    return Response(graded.artefacts()[RESULT], 201, headers, "application/json")


@asynccontextmanager
async def _admitted(services: Services, request: Request) -> AsyncIterator[Ticket]:
    """A place in the house, or a refusal before the body is read."""
    size = None if uploads.is_reference(request) else uploads.declared_bytes(request)
    cost = services.admission.estimate(size)
    async with AsyncExitStack() as stack:
        try:
            ticket = await stack.enter_async_context(services.admission.admit(cost))
        except Overloaded:
            await uploads.drain(request)
            raise
        yield ticket


async def _unless_client_leaves(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work``, cancelled as soon as the client closes its connection.

    Raises:
        starlette.requests.ClientDisconnect: The client left first.
    """
    results: list[T] = []
    failures: list[Exception] = []

    async def run() -> None:
        try:
            results.append(await work())
        except Exception as error:  # carried out of the task group as it is, not in an ExceptionGroup
            failures.append(error)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        while (await request.receive())["type"] != "http.disconnect":
            pass
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not results:
        raise ClientDisconnect
    return results[0]
