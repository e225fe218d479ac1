"""Spans and trace ids, without a collector."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError

from discgrade.errors import InferenceFailed
from gateway import tracing
from gateway.settings import Settings
from tests.gateway.conftest import OpenClient, Parts
from tests.support.collector import recording
from tests.support.truth import TruthGrader

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    with recording() as kept:
        yield kept


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_callers_trace_goes_on_without_any_exporter() -> None:
    with tracing.span("request", tracing.SpanKind.SERVER, parent=CALLER), tracing.span("call"):
        assert tracing.traceparent() == CALLER
        assert tracing.trace_id() == CALLER[3:35]
    assert tracing.traceparent() is None


def test_a_trace_that_nobody_records_is_not_passed_on() -> None:
    with tracing.span("request", tracing.SpanKind.SERVER, parent=CALLER[:-1] + "0"):
        assert tracing.traceparent() is None
        assert tracing.trace_id() == CALLER[3:35]


@pytest.mark.parametrize("header", ["", "Mustermann", "00-0-0-0", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "ä" * 55])
def test_what_is_no_trace_begins_none(header: str) -> None:
    with tracing.span("request", tracing.SpanKind.SERVER, parent=header):
        assert tracing.trace_id() is None


def test_a_server_span_is_no_child_of_what_happens_to_be_current(exporter: InMemorySpanExporter) -> None:
    with tracing.span("before"), tracing.span("request", tracing.SpanKind.SERVER):
        pass
    assert by_name(exporter)["request"].parent is None


def test_an_exception_leaves_its_type_alone(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="Mustermann"), tracing.span("work"):
        int("Mustermann")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.events == ()
    assert "Mustermann" not in span.to_json()
    assert "ValueError" in span.to_json()


async def test_a_failure_of_ours_fails_the_trace(
    open_client: OpenClient, grader: TruthGrader, study: Parts, exporter: InMemorySpanExporter
) -> None:
    async with open_client() as client:
        grader.error = InferenceFailed("No.")
        await client.post("/v1/grade", files=study)
        await client.get("/readyz")
        await client.request("Mustermann", "/v1/Mustermann")
    spans = by_name(exporter)
    assert spans["POST /v1/grade"].attributes is not None
    assert spans["POST /v1/grade"].attributes[tracing.OUTCOME] == InferenceFailed.slug
    assert {name for name, span in spans.items() if not span.status.is_ok and span.status.description} == {
        "POST /v1/grade",
        "inference",
    }
    assert "other unmatched" in spans
    assert len([span for span in spans.values() if span.parent is None]) == 2
    assert "Mustermann" not in "".join(span.to_json() for span in spans.values())


def test_log_lines_bear_the_request_and_the_trace() -> None:
    code = (
        "from gateway import logs, tracing; import structlog; logs.configure()\n"
        f"with tracing.span('x', tracing.SpanKind.SERVER, parent='{CALLER}'):\n"
        "    with structlog.contextvars.bound_contextvars(request_id='r'): structlog.get_logger().info('hello')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert f'"trace_id": "{CALLER[3:35]}"' in done.stderr
    assert '"request_id": "r"' in done.stderr


def test_triton_traces_only_what_its_caller_does() -> None:
    assert tracing.triton_options(None) == []
    options = tracing.triton_options("http://collector:4318/")
    assert "--trace-config=opentelemetry,url=http://collector:4318/v1/traces" in options
    assert "--trace-config=level=TIMESTAMPS" in options


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "http://", "http://c/?key=secret"])
def test_a_collector_has_an_absolute_address(url: str) -> None:
    with pytest.raises(ValidationError, match="absolute URL"):
        Settings(otlp_endpoint=url)
