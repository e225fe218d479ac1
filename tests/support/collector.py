"""An OpenTelemetry collector that keeps what it is sent: OTLP over HTTP, as protobuf messages or, by Triton, JSON."""

from __future__ import annotations

import base64
import gzip
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.tracing import use_provider

__all__ = ["Collector", "ReceivedSpan", "collecting", "recording"]


@dataclass(frozen=True)
class ReceivedSpan:
    """One span.

    Attributes:
        service: ``service.name`` of its resource.
        name: Its name.
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_id: The same of its parent; empty for the first of a trace.
        attributes: As texts.
        links: Trace ids.
        failed: Whether its status is an error.
    """

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    links: tuple[str, ...]
    failed: bool


class Collector(ThreadingHTTPServer):
    """The server.

    Attributes:
        bodies: Every request's body, unpacked.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[ReceivedSpan]:
        """What was received so far."""
        return [span for body in list(self.bodies) for span in _spans(_message(body))]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.server.bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _message(body: bytes) -> ExportTraceServiceRequest:
    if not body.startswith(b"{"):
        return ExportTraceServiceRequest.FromString(body)
    ids = re.compile(rb'("(?:traceId|spanId|parentSpanId)": ?")([0-9a-f]*)"')  # hexadecimal, unlike protobuf's own JSON
    standard = ids.sub(lambda found: found[1] + base64.b64encode(bytes.fromhex(found[2].decode())) + b'"', body)
    return json_format.Parse(standard, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def _spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for group in request.resource_spans:
        resource = {item.key: item.value.string_value for item in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    service=resource.get("service.name", ""),
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    attributes={item.key: str(item.value).strip() for item in span.attributes},
                    links=tuple(link.trace_id.hex() for link in span.links),
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that runs as long as the block."""
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()


@contextmanager
def recording() -> Iterator[InMemorySpanExporter]:
    """Keeps the spans that this process ends within the block."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with use_provider(provider):
        yield kept
