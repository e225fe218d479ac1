"""``/v1/results/…``: a kept result and its files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple

from fastapi import APIRouter, Depends, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from discgrade.result import DISCLAIMER, GradingResult
from gateway import openapi
from gateway.dicom_out import DICOM_OVERLAY, DICOM_PDF, DICOM_REPORT, DICOM_SEGMENTATION
from gateway.door import Scope
from gateway.door.http import principal_of, requires
from gateway.pictures import REPORT
from gateway.results import load_file
from gateway.storage import IMAGE, OVERLAY, RESULT, SEGMENTATION, is_id

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["deletion", "router"]

ResultId = Annotated[
    str, PathParameter(description="The `result_id` of a grading.", examples=["4f1d7a0c9b8e4c52a6f03d5be1c27a94"])
]
_DICOM = "application/dicom"
_GZIP = "application/gzip"

router = APIRouter(prefix="/v1/results", tags=["grading"], dependencies=[Depends(requires(Scope.READ))])
deletion = APIRouter(prefix="/v1/results", tags=["grading"], dependencies=[Depends(requires(Scope.ADMIN))])


@router.get(
    "/{result_id}",
    response_model=GradingResult,
    summary="Fetch a result",
    description=f"What `POST /v1/grade` answered. Results are kept for a limited time. {DISCLAIMER}",
    responses={200: openapi.RESULT_RESPONSE, **openapi.problem_responses(401, 403, 404, 429)},
)
async def result(request: Request, result_id: ResultId) -> Response:
    """Answer with a kept result."""
    return await _file(request, result_id, RESULT, "application/json")


class _File(NamedTuple):
    """A file of a result: its name, what it is, and how OpenAPI tells of it."""

    name: str
    media_type: str
    operation: str
    what: str
    summary: str
    description: str


_FILES = (
    _File(
        SEGMENTATION,
        _GZIP,
        "segmentation",
        "The label image",
        "Fetch the label image",
        "A gzipped NIfTI-1 image in the geometry of the input: 0 is background, other values are the `label` of a disc "
        "in the result. Axes of a DICOM input are columns, rows, slices.",
    ),
    _File(
        IMAGE,
        _GZIP,
        "image",
        "The image",
        "Fetch the image that was graded",
        "A gzipped NIfTI-1 image on the grid of the label image: every pixel of the graded series, so that a viewer "
        "can show it with any window, and the discs on it.",
    ),
    _File(
        OVERLAY,
        "image/png",
        "overlay",
        "The picture",
        "Fetch the overlay picture",
        "The middle sagittal slice with the discs outlined, named and graded.",
    ),
    _File(
        REPORT,
        "application/pdf",
        "report",
        "The report",
        "Fetch the report as PDF",
        "One page (A4) for people: the overlay, each disc by itself, a table, warnings and versions of the models. It "
        "names no patient.",
    ),
    _File(
        DICOM_SEGMENTATION,
        _DICOM,
        "dicom_segmentation",
        "The segmentation",
        "Fetch the discs as DICOM SEG",
        "A DICOM segmentation of the graded series, a segment a disc; its numbers are the `label`s in the result. It "
        "repeats patient and study of the series. Not for NIfTI studies.",
    ),
    _File(
        DICOM_REPORT,
        _DICOM,
        "dicom_report",
        "The report",
        "Fetch measurements and grades as DICOM SR",
        "A DICOM structured report (Comprehensive 3D SR, TID 1500) with a measurement group a disc, which refers to "
        "its segment. It repeats patient and study of the series. Not for NIfTI studies.",
    ),
    _File(
        DICOM_OVERLAY,
        _DICOM,
        "dicom_overlay",
        "The picture",
        "Fetch the overlay picture as DICOM",
        "A DICOM secondary capture of the overlay in the study of the series, whose patient and study it repeats. Not "
        "for NIfTI studies.",
    ),
    _File(
        DICOM_PDF,
        _DICOM,
        "dicom_pdf",
        "The report",
        "Fetch the report as PDF in DICOM",
        "A DICOM encapsulated PDF: the report of one page in the study of the series, whose patient and study it "
        "repeats. Not for NIfTI studies.",
    ),
)


def _reads(name: str, media_type: str) -> Callable[[Request, str], Awaitable[Response]]:
    async def answer(request: Request, result_id: ResultId) -> Response:
        return await _file(request, result_id, name, media_type)

    return answer


for _one in _FILES:
    router.add_api_route(
        f"/{{result_id}}/{_one.name}",
        _reads(_one.name, _one.media_type),
        name=_one.operation,
        summary=_one.summary,
        description=f"{_one.description} {DISCLAIMER}",
        response_class=Response,
        responses={
            200: openapi.binary_response(_one.media_type, _one.what),
            **openapi.problem_responses(401, 403, 404, 429),
        },
    )


@deletion.delete(
    "/{result_id}",
    status_code=204,
    summary="Delete a result",
    description=f"Removes the result and its files for good. {DISCLAIMER}",
    response_class=Response,
    responses={204: {"description": "It is gone"}, **openapi.problem_responses(401, 403, 404, 429, 503)},
)
async def delete(request: Request, result_id: ResultId) -> Response:
    """Remove a result."""
    services: Services = request.state.services
    async with services.audit.action(principal_of(request), "delete result", request.state.request_id) as entry:
        entry.result_id = result_id if is_id(result_id) else None  # anything else may be anything
        await services.workers.disk(services.store.delete, result_id)
    return Response(status_code=204)


async def _file(request: Request, result_id: str, name: str, media_type: str) -> Response:
    services: Services = request.state.services
    async with services.audit.action(principal_of(request), f"read {name}", request.state.request_id) as entry:
        content = await load_file(services, result_id, name)
        entry.result_id = result_id
    return Response(content, headers={"Cache-Control": "no-store"}, media_type=media_type)
