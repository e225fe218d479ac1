"""Between the contract and its gRPC messages, in both directions."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from pydantic import ValidationError

from discgrade.errors import DiscgradeError, InputError, ServiceError
from discgrade.result import GradingResult
from discgrade.v1 import grading_pb2 as pb

__all__ = ["DOMAIN", "STATUS_TRAILER", "error_from", "from_message", "status_of", "to_message"]

DOMAIN = "discgrade"
STATUS_TRAILER = "grpc-status-details-bin"
"""The trailer that carries the google.rpc.Status of a failed call (github.com/grpc/proposal, G1)."""

_OTHER_VERSION = "Install the version of discgrade that the server has."
_INPUT_CODES = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.UNAUTHENTICATED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.ALREADY_EXISTS,
    }
)
_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}


def to_message(result: GradingResult) -> pb.GradingResult:
    """The result as a message; fields have the names of the JSON."""
    return ParseDict(result.model_dump(mode="json", exclude_none=True), pb.GradingResult())


def from_message(message: pb.GradingResult) -> GradingResult:
    """The result in a message.

    Raises:
        ServiceError: It does not fit the contract.
    """
    fields = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    try:
        fields["input"].setdefault("chosen_series", None)
        return GradingResult.model_validate(fields)
    except (KeyError, ValidationError):
        raise ServiceError("The server's answer does not fit the contract.", _OTHER_VERSION) from None


def status_of(error: DiscgradeError, request_id: str) -> Status:
    """What a caller learns of an error, in the form that every gRPC language reads (google.rpc.Status).

    Args:
        error: What happened.
        request_id: Names this occurrence.
    """
    status = Status(code=StatusCode[error.grpc_code].value[0], message=error.detail)
    info = {"type": error.problem_type(), "title": error.title, "status": str(error.status), "advice": error.advice}
    status.details.add().Pack(ErrorInfo(reason=_reason(error), domain=DOMAIN, metadata=info))
    status.details.add().Pack(RequestInfo(request_id=request_id))
    if error.retry_after_seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_seconds * 1000))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def error_from(status: Status) -> DiscgradeError:
    """The exception that the server turned into this status."""
    info, retry = ErrorInfo(), RetryInfo()
    retry_after: float | None = None
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(RetryInfo.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    kind = DiscgradeError.of_problem_type(info.metadata.get("type", "")) if info.domain == DOMAIN else None
    if kind is not None:
        return kind(status.message, info.metadata.get("advice"), retry_after)
    code = _CODES.get(status.code, StatusCode.UNKNOWN)  # not ours: a proxy between us, or a newer server
    family = InputError if code in _INPUT_CODES else ServiceError
    return family(f"The server answered with the gRPC status {code.name}.", retry_after_seconds=retry_after)


def _reason(error: DiscgradeError) -> str:
    return error.slug.upper().replace("-", "_")
