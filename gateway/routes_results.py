"""``/v1/results/…``: a kept result and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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


@router.get(
    f"/{{result_id}}/{SEGMENTATION}",
    summary="Fetch the label image",
    description=(
        "A gzipped NIfTI-1 image in the geometry of the input: 0 is background, other values are the `label` of a "
        f"disc in the result. Axes of a DICOM input are columns, rows, slices. {DISCLAIMER}"
    ),
    response_class=Response,
    responses={
        200: openapi.binary_response("application/gzip", "The label image"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def segmentation(request: Request, result_id: ResultId) -> Response:
    """Answer with the label image."""
    return await _file(request, result_id, SEGMENTATION, "application/gzip")


@router.get(
    f"/{{result_id}}/{IMAGE}",
    summary="Fetch the image that was graded",
    description=(
        "A gzipped NIfTI-1 image on the grid of the label image: every pixel of the graded series, so that a viewer "
        f"can show it with any window, and the discs on it. {DISCLAIMER}"
    ),
    response_class=Response,
    responses={
        200: openapi.binary_response("application/gzip", "The image"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def image(request: Request, result_id: ResultId) -> Response:
    """Answer with the image that was graded."""
    return await _file(request, result_id, IMAGE, "application/gzip")


@router.get(
    f"/{{result_id}}/{OVERLAY}",
    summary="Fetch the overlay picture",
    description=f"The middle sagittal slice with the discs outlined, named and graded. {DISCLAIMER}",
    response_class=Response,
    responses={
        200: openapi.binary_response("image/png", "The picture"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def overlay(request: Request, result_id: ResultId) -> Response:
    """Answer with the picture."""
    return await _file(request, result_id, OVERLAY, "image/png")


@router.get(
    f"/{{result_id}}/{REPORT}",
    summary="Fetch the report as PDF",
    description=(
        "One page (A4) for people: the overlay, each disc by itself, a table, warnings and versions of the models. It "
        f"names no patient. {DISCLAIMER}"
    ),
    response_class=Response,
    responses={
        200: openapi.binary_response("application/pdf", "The report"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def report(request: Request, result_id: ResultId) -> Response:
    """Answer with the report for people."""
    return await _file(request, result_id, REPORT, "application/pdf")


@router.get(
    f"/{{result_id}}/{DICOM_SEGMENTATION}",
    summary="Fetch the discs as DICOM SEG",
    description=(
        "A DICOM segmentation of the graded series, a segment a disc; its numbers are the `label`s in the result. It "
        f"repeats patient and study of the series. Not for NIfTI studies. {DISCLAIMER}"
    ),
    response_class=Response,
    responses={
        200: openapi.binary_response(_DICOM, "The segmentation"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def dicom_segmentation(request: Request, result_id: ResultId) -> Response:
    """Answer with the segmentation as DICOM."""
    return await _file(request, result_id, DICOM_SEGMENTATION, _DICOM)


@router.get(
    f"/{{result_id}}/{DICOM_REPORT}",
    summary="Fetch measurements and grades as DICOM SR",
    description=(
        "A DICOM structured report (Comprehensive 3D SR, TID 1500) with a measurement group a disc, which refers to "
        f"its segment. It repeats patient and study of the series. Not for NIfTI studies. {DISCLAIMER}"
    ),
    response_class=Response,
    responses={
        200: openapi.binary_response(_DICOM, "The report"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def dicom_report(request: Request, result_id: ResultId) -> Response:
    """Answer with the structured report."""
    return await _file(request, result_id, DICOM_REPORT, _DICOM)


@router.get(
    f"/{{result_id}}/{DICOM_OVERLAY}",
    summary="Fetch the overlay picture as DICOM",
    description=(
        "A DICOM secondary capture of the overlay in the study of the series, whose patient and study it repeats. Not "
        f"for NIfTI studies. {DISCLAIMER}"
    ),
    response_class=Response,
    responses={
        200: openapi.binary_response(_DICOM, "The picture"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def dicom_overlay(request: Request, result_id: ResultId) -> Response:
    """Answer with the picture as DICOM."""
    return await _file(request, result_id, DICOM_OVERLAY, _DICOM)


@router.get(
    f"/{{result_id}}/{DICOM_PDF}",
    summary="Fetch the report as PDF in DICOM",
    description=(
        "A DICOM encapsulated PDF: the report of one page in the study of the series, whose patient and study it "
        f"repeats. Not for NIfTI studies. {DISCLAIMER}"
    ),
    response_class=Response,
    responses={
        200: openapi.binary_response(_DICOM, "The report"),
        **openapi.problem_responses(401, 403, 404, 429),
    },
)
async def dicom_pdf(request: Request, result_id: ResultId) -> Response:
    """Answer with the report for people as DICOM."""
    return await _file(request, result_id, DICOM_PDF, _DICOM)


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
