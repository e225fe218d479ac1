from __future__ import annotations

import typing
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from pydantic import BaseModel

from discgrade import errors
from discgrade._messages import error_from, from_message, status_of, to_message
from discgrade.errors import DiscgradeError
from discgrade.result import Disc, GradingResult, InputDescription, ModelUsed, ResultWarning
from discgrade.v1 import grading_pb2 as pb
from tests.discgrade.test_result import disc, result

PAIRS = [(kind, pb.DESCRIPTOR.message_types_by_name[kind.__name__]) for kind in (
    GradingResult, InputDescription, Disc, ModelUsed, ResultWarning
)]  # fmt: skip


@pytest.mark.parametrize(("kind", "message"), PAIRS, ids=lambda value: getattr(value, "__name__", ""))
def test_messages_have_the_fields_of_the_contract(kind: type[BaseModel], message: Any) -> None:
    assert {field.name for field in message.fields} == set(kind.model_fields)
    for field in message.fields:
        optional = type(None) in typing.get_args(kind.model_fields[field.name].annotation)
        if field.message_type is None:
            assert field.has_presence == optional, field.name


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"discs": []},
        {"discs": [disc(volume_mm3=0.0, label=255, area_mm2=123.456789012345), disc(volume_mm3=1e-9)]},
        {"warnings": [{"code": "field_of_view_cut", "message": "Bandscheibe – «L5/S1»"}]},
    ],
)
def test_a_result_comes_back_as_it_was(changes: dict[str, Any]) -> None:
    for series in (None, "1.2.3", ""):
        whole = result(**changes)
        whole["input"]["chosen_series"] = series
        first = GradingResult.model_validate(whole)
        sent = pb.GradingResult.FromString(to_message(first).SerializeToString())
        assert from_message(sent) == first


def test_a_result_of_another_version() -> None:
    message = to_message(GradingResult.model_validate(result()))
    message.discs[0].severity = "catastrophic"
    for other in (message, pb.GradingResult()):
        with pytest.raises(errors.ServiceError, match="contract"):
            from_message(other)


def test_an_error_is_read_by_every_grpc_language() -> None:
    status = status_of(errors.Overloaded("Full.", "Wait.", 2.5), "the-id")
    assert (status.code, status.message) == (StatusCode.UNAVAILABLE.value[0], "Full.")
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("discgrade", "OVERLOADED")
    assert info.metadata == {
        "type": "urn:discgrade:problem:overloaded",
        "title": errors.Overloaded.title,
        "status": "503",
        "advice": "Wait.",
    }
    assert [detail.TypeName() for detail in status.details] == [
        "google.rpc.ErrorInfo",
        "google.rpc.RequestInfo",
        "google.rpc.RetryInfo",
    ]


@pytest.mark.parametrize(
    ("code", "family"),
    [
        (StatusCode.INVALID_ARGUMENT, errors.InputError),
        (StatusCode.RESOURCE_EXHAUSTED, errors.InputError),
        (StatusCode.UNAVAILABLE, errors.ServiceError),
        (StatusCode.INTERNAL, errors.ServiceError),
    ],
)
def test_a_status_that_is_not_ours(code: StatusCode, family: type[DiscgradeError]) -> None:
    foreign = AnyMessage()
    foreign.Pack(ErrorInfo(domain="proxy.example.org", metadata={"type": "urn:discgrade:problem:not-found"}))
    newer = AnyMessage()
    newer.Pack(ErrorInfo(domain="discgrade", metadata={"type": "urn:discgrade:problem:from-the-future"}))
    for details in ([], [foreign], [newer]):
        error = error_from(Status(code=code.value[0], message="Mustermann", details=details))
        assert type(error) is family
        assert code.name in error.detail


def test_a_code_that_nobody_knows() -> None:
    assert type(error_from(Status(code=99))) is errors.ServiceError
