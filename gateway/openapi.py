"""Examples and schemas of the API description that FastAPI cannot see for itself."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from discgrade import errors
from discgrade.dicomweb import DicomwebReference
from discgrade.errors import DiscgradeError, ServiceError
from discgrade.job import Job, JobPage, JobProblem, JobProgress, JobState
from discgrade.result import Disc, GradingResult, InputDescription, ModelUsed, Pfirrmann, ResultWarning, Severity
from gateway.problems import PROBLEM_MEDIA_TYPE
from gateway.uploads import FIELD_NAME

__all__ = [
    "CALLER_RESPONSE",
    "JOBS_RESPONSE",
    "JOB_ACCEPTED_RESPONSE",
    "JOB_CANCELLED_RESPONSE",
    "JOB_RESPONSE",
    "MODELS_RESPONSE",
    "RESULT_RESPONSE",
    "STUDY_BODY",
    "binary_response",
    "problem_responses",
]

_REQUEST_ID = "0b9f6c1e-3f55-4c0e-9a57-6d1f0f0f8f2a"

_REFERENCE = {"server": "pacs", "study_uid": "2.25.88115432098714503512093487561029384756"}
_MODELS = [
    ModelUsed(name="lumbar_grading", version="1", engine="ensemble"),
    ModelUsed(name="disc_segmentation", version="1", engine="openvino"),
    ModelUsed(name="disc_crop", version="1", engine="python"),
    ModelUsed(name="disc_grading", version="1", engine="openvino"),
]

_RESULT = GradingResult(
    result_id="4f1d7a0c9b8e4c52a6f03d5be1c27a94",
    input=InputDescription(
        format="dicom",
        chosen_series="2.25.190041861310523469841305120413640851230",
        chosen_because="The only sagittal T2-weighted series.",
        slices=15,
        spacing_mm=(4.4, 0.5, 0.5),
    ),
    discs=[
        Disc(
            level="L4/L5",
            level_confidence=0.97,
            severity=Severity.MODERATE,
            severity_probabilities={Severity.MILD: 0.11, Severity.MODERATE: 0.8, Severity.SEVERE: 0.09},
            pfirrmann=Pfirrmann.III,
            pfirrmann_probabilities={
                Pfirrmann.I: 0.01,
                Pfirrmann.II: 0.1,
                Pfirrmann.III: 0.78,
                Pfirrmann.IV: 0.1,
                Pfirrmann.V: 0.01,
            },
            label=2,
            centroid_mm_lps=(1.2, 34.5, -12.3),
            area_mm2=322.5,
            volume_mm3=12480.0,
            height_mm=8.7,
        ),
    ],
    models=_MODELS,
    timings_ms={
        "upload": 21.0,
        "read": 48.5,
        "preprocess": 32.1,
        "inference": 640.2,
        "postprocess": 88.0,
        "total": 829.8,
    },
    warnings=[ResultWarning(code="field_of_view_cut", message="The field of view ends within the lumbar spine.")],
)

RESULT_RESPONSE: dict[str, Any] = {
    "description": "The graded study",
    "content": {"application/json": {"example": _RESULT.model_dump(mode="json")}},
}
_QUEUED = Job(
    job_id="8c2d51f06f5e4f0f9a3b7c1de2a48b16",
    state=JobState.QUEUED,
    created_at=datetime(2026, 3, 2, 22, 15, 4, 120_000, UTC),
)
_RUNNING = _QUEUED.model_copy(
    update={
        "state": JobState.RUNNING,
        "started_at": datetime(2026, 3, 2, 22, 15, 5, 310_000, UTC),
        "progress": JobProgress(stage="inference", done=2, of=4),
    }
)
_ENDED = {"started_at": _RUNNING.started_at, "ended_at": datetime(2026, 3, 2, 22, 15, 6, 170_000, UTC)}
_SUCCEEDED = _QUEUED.model_copy(
    update={
        **_ENDED,
        "state": JobState.SUCCEEDED,
        "result_id": _RESULT.result_id,
        "result_url": f"/v1/results/{_RESULT.result_id}",
    }
)
_FAILED = _QUEUED.model_copy(
    update={
        **_ENDED,
        "state": JobState.FAILED,
        "problem": JobProblem.model_validate(errors.NoDiscsFound("No lumbar spine is seen.").problem()),
    }
)
_CANCELLED = _QUEUED.model_copy(update={"state": JobState.CANCELLED, "ended_at": _ENDED["ended_at"]})


def _job_response(description: str, *jobs: Job) -> dict[str, Any]:
    examples = {job.state.value: {"value": job.model_dump(mode="json")} for job in jobs}
    return {"description": description, "content": {"application/json": {"examples": examples}}}


JOB_RESPONSE = _job_response("The job", _QUEUED, _RUNNING, _SUCCEEDED, _FAILED, _CANCELLED)
JOB_CANCELLED_RESPONSE = _job_response("The cancelled job", _CANCELLED)
JOB_ACCEPTED_RESPONSE: dict[str, Any] = {
    **_job_response("The study is kept and will be graded", _QUEUED),
    "headers": {"Location": {"description": "The job's address.", "schema": {"type": "string"}}},
}
JOBS_RESPONSE: dict[str, Any] = {
    "description": "Some jobs",
    "content": {
        "application/json": {
            "example": JobPage(jobs=[_RUNNING, _SUCCEEDED], next_cursor="AAABmvIAIrgyXVHwb14").model_dump(mode="json")
        }
    },
}
CALLER_RESPONSE: dict[str, Any] = {
    "description": "The caller",
    "content": {"application/json": {"example": {"name": "key:ward-3", "scopes": ["jobs", "read"]}}},
}
MODELS_RESPONSE: dict[str, Any] = {
    "description": "The models",
    "content": {"application/json": {"example": {"models": [model.model_dump() for model in _MODELS], "canary": None}}},
}
STUDY_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {  # not StudyReference's own, whose references would lead out of it
                "type": "object",
                "description": "A study at a DICOMweb server, in place of its files.",
                "required": ["dicomweb"],
                "additionalProperties": False,
                "properties": {"dicomweb": DicomwebReference.model_json_schema()},
            },
            "examples": {
                "study": {"summary": "The series is chosen", "value": {"dicomweb": _REFERENCE}},
                "series": {
                    "summary": "One series",
                    "value": {"dicomweb": {**_REFERENCE, "series_uid": "2.25.190041861310523469841305120413640851230"}},
                },
            },
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD_NAME],
                "properties": {
                    FIELD_NAME: {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "DICOM files, or one zip of DICOM files, or one NIfTI file (.nii, .nii.gz).",
                    }
                },
            }
        },
    },
}

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An RFC 9457 problem document.",
    "required": ["type", "title", "status", "detail", "advice", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Which kind of problem; stable."},
        "title": {"type": "string", "description": "The kind of problem, in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong with this request; free of patient data."},
        "advice": {"type": "string", "description": "What to change."},
        "instance": {"type": "string", "format": "uri", "description": "Names this occurrence."},
        "request_id": {"type": "string", "format": "uuid", "description": "As in the X-Request-ID header."},
    },
}


def binary_response(media_type: str, description: str) -> dict[str, Any]:
    """Describe a response of bytes."""
    return {
        "description": description,
        "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
    }


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problem documents of these statuses, with an example of each kind, and of any other status."""
    responses: dict[int | str, dict[str, Any]] = {status: _problems(status) for status in statuses}
    return {**responses, "default": {**_problems(ServiceError.status), "description": "Any other problem"}}


def _problems(status: int) -> dict[str, Any]:
    kinds = [kind for kind in _kinds() if kind.status == status]
    return {
        "description": HTTPStatus(status).phrase,
        "content": {
            PROBLEM_MEDIA_TYPE: {
                "schema": _PROBLEM_SCHEMA,
                "examples": {kind.slug: {"summary": kind.title, "value": _example(kind)} for kind in kinds},
            }
        },
    }


def _kinds() -> list[type[DiscgradeError]]:
    abstract = {errors.DiscgradeError, errors.InputError}
    kinds = [getattr(errors, name) for name in errors.__all__]
    return sorted((kind for kind in kinds if kind not in abstract), key=lambda kind: kind.slug)


def _example(kind: type[DiscgradeError]) -> dict[str, Any]:
    meaning = (kind.__doc__ or kind.title).splitlines()[0]
    return {
        **kind(meaning).problem(),
        "instance": f"urn:discgrade:request:{_REQUEST_ID}",
        "request_id": _REQUEST_ID,
    }
