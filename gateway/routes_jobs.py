"""``/v1/jobs``: hand a study in, and have it graded later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from discgrade.errors import DiscgradeError, Overloaded
from discgrade.job import Job, JobPage, JobState
from discgrade.result import DISCLAIMER
from gateway import intake, openapi, uploads
from gateway.door import Principal, Scope
from gateway.door.http import principal_of, requires
from gateway.grading import spooled
from gateway.intake import write_reference
from gateway.jobs.service import job_id_of

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["router"]

JobId = Annotated[
    str,
    PathParameter(
        description="The `job_id` of a job.", pattern="^[0-9a-f]{32}$", examples=["8c2d51f06f5e4f0f9a3b7c1de2a48b16"]
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="Makes the request safe to repeat: the same key and the same study give the same job. Only a hash "
        "of it is kept. Use a new random UUID for each study.",
        examples=["7b6ad2f3-6a5b-4ee8-9d29-2c0f6f9b1c55"],
    ),
]
WebhookUrl = Annotated[
    str | None,
    Header(
        alias="Webhook-URL",
        description="Told once the job ended, if the operator switched webhooks on; see docs/jobs.md. It is kept with "
        "the job, so it must not hold patient data.",
        examples=["https://pacs.example.org/discgrade"],
    ),
]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(requires(Scope.JOBS))])


@router.post(
    "",
    response_model=Job,
    status_code=202,
    summary="Submit a study",
    description=(
        "The same body as `POST /v1/grade`. Once this answers, the study, or the reference to it, is on disk and in "
        "the queue, and will be graded whatever is restarted in between; a study at a DICOMweb server is fetched when "
        "its turn comes, and waited for while that server is away. A server that de-identifies studies reads them "
        "first, and refuses what it cannot read. `Location` is the job's address. A repetition with the same "
        f"`Idempotency-Key` answers with the job as it stands now. {DISCLAIMER}"
    ),
    responses={
        202: openapi.JOB_ACCEPTED_RESPONSE,
        **openapi.problem_responses(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra={"requestBody": openapi.STUDY_BODY},
)
async def submit(request: Request, idempotency_key: IdempotencyKey = None, webhook_url: WebhookUrl = None) -> Response:
    """Receive a study and put it into the queue."""
    services: Services = request.state.services
    principal = principal_of(request)
    job_id = job_id_of(principal.name, idempotency_key)
    async with services.audit.action(principal, "submit job", request.state.request_id) as entry:
        entry.job_id = job_id
        try:
            if services.admission.closed:
                raise Overloaded("The server is shutting down.")
            if webhook_url is not None:
                services.jobs.webhooks.check(webhook_url)
            await services.jobs.check_room(job_id)
        except DiscgradeError:
            await uploads.drain(request)
            raise
        async with spooled(services) as (folder, _):
            reference = await uploads.reference(request, services.upload_limits.idle_seconds)
            if reference is None:
                await intake.received(services, request, folder)
            else:
                services.dicomweb.check(reference, principal.name)
                entry.study_uid = reference.study_uid
                await services.workers.disk(write_reference, reference, folder)
            job = await services.jobs.submit(
                job_id,
                principal.name,
                folder,
                idempotency_key,
                webhook_url,
                request.state.request_id,
                by_reference=reference is not None,
            )
    return _answer(job, 202, {"Location": f"/v1/jobs/{job_id}"})


@router.get(
    "",
    response_model=JobPage,
    summary="List jobs",
    description="The caller's jobs, the newest first; with the scope `admin`, everybody's.",
    responses={200: openapi.JOBS_RESPONSE, **openapi.problem_responses(400, 401, 403, 429, 503)},
)
async def jobs(
    request: Request,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Most jobs on the page.")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=8192, description="The `next_cursor` of the page before; omitted for the first.")
    ] = None,
) -> Response:
    """Answer with a page of jobs."""
    services: Services = request.state.services
    page = await services.jobs.page(_whose(principal_of(request)), state, limit, cursor)
    return _answer(page, 200)


@router.get(
    "/{job_id}",
    response_model=Job,
    summary="Follow a job",
    description=f"Where the job stands; once it succeeded, where its result is. {DISCLAIMER}",
    responses={200: openapi.JOB_RESPONSE, **openapi.problem_responses(400, 401, 403, 404, 429, 503)},
)
async def job(request: Request, job_id: JobId) -> Response:
    """Answer with a job."""
    services: Services = request.state.services
    return _answer(await services.jobs.get(job_id, _whose(principal_of(request))), 200)


@router.delete(
    "/{job_id}",
    response_model=Job,
    summary="Cancel a job",
    description="Stops a job that has not ended and removes its upload. A job that was cancelled before is answered "
    "as it is; one that succeeded or failed is a conflict.",
    responses={200: openapi.JOB_CANCELLED_RESPONSE, **openapi.problem_responses(400, 401, 403, 404, 409, 429, 503)},
)
async def cancel(request: Request, job_id: JobId) -> Response:
    """Cancel a job."""
    services: Services = request.state.services
    principal = principal_of(request)
    async with services.audit.action(principal, "cancel job", request.state.request_id) as entry:
        entry.job_id = job_id
        return _answer(await services.jobs.cancel(job_id, _whose(principal)), 200)


def _whose(principal: Principal) -> str | None:
    """Whose jobs a caller may see and cancel; None for everybody's."""
    return None if Scope.ADMIN in principal.scopes else principal.name


def _answer(body: Job | JobPage, status: int, headers: dict[str, str] | None = None) -> Response:
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(body.model_dump_json(), status, all_headers, "application/json")
