"""OpenTelemetry traces of the gateway: off unless a collector is set, and without anything of the upload.

The caller's ``traceparent`` (W3C Trace Context) is honoured and passed on to Triton whether traces are exported or not;
its ``tracestate`` and ``baggage`` are free text, which could carry patient data, and are dropped. The provider is not
registered for the whole process: libraries that then trace by themselves record raw paths, queries and exceptions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NoOpTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TracerProvider,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import discgrade
from discgrade.errors import ServiceError
from gateway.outcomes import outcome_class, outcome_of

__all__ = [
    "OUTCOME",
    "SpanKind",
    "exporting",
    "note_end",
    "span",
    "trace_id",
    "traceparent",
    "triton_options",
    "use_provider",
]

OUTCOME = "discgrade.outcome"
"""Attribute of every span that did not end well: the problem type's last part, or ``client-closed-request``."""
_OURS = frozenset({"overloaded", "error"})
_PROPAGATOR = TraceContextTextMapPropagator()
_HEADER = "traceparent"
_FIRST = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
_NEVER_BY_ITSELF = 2**31 - 1
"""Of so many requests Triton traces one without its caller's wish."""
_provider: TracerProvider = NoOpTracerProvider()

Attribute = str | int | float | bool


@contextmanager
def exporting(endpoint: str | None, share: float) -> Iterator[None]:
    """Send spans to a collector for the length of the block; what is left is sent at its end.

    Args:
        endpoint: Base URL of the collector's OTLP over HTTP; None exports nothing.
        share: Share of the traces that begin here which are recorded; a caller's own decision comes first.

    Raises:
        ServiceError: The packages that it needs are not installed.
    """
    if endpoint is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as Recorder
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ModuleNotFoundError as error:
        raise ServiceError(
            f"Traces need the package {error.name}, which is not installed.", "pip install 'discgrade[traces]'"
        ) from error
    logging.getLogger("opentelemetry").setLevel(logging.WARNING)
    provider = Recorder(
        sampler=ParentBased(TraceIdRatioBased(share)),
        resource=Resource.create({"service.name": "discgrade-gateway", "service.version": discgrade.__version__}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    with use_provider(provider):
        try:
            yield
        finally:
            provider.shutdown()


def triton_options(endpoint: str | None) -> list[str]:
    """Options of a tritonserver that sends the spans of requests that come with a ``traceparent``.

    Args:
        endpoint: As in :func:`exporting`.
    """
    if endpoint is None:
        return []
    settings = {
        "mode": "opentelemetry",
        "level": "TIMESTAMPS",  # not TENSORS, which are images
        "rate": _NEVER_BY_ITSELF,
        "opentelemetry,url": f"{endpoint.rstrip('/')}/v1/traces",
        "opentelemetry,resource": "service.name=discgrade-triton",
    }
    return [f"--trace-config={name}={value}" for name, value in settings.items()]


@contextmanager
def use_provider(provider: TracerProvider) -> Iterator[None]:
    """Make this module's spans with a provider for the length of the block."""
    global _provider
    before, _provider = _provider, provider
    try:
        yield
    finally:
        _provider = before


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: str | None = None,
    link: str | None = None,
    attributes: Mapping[str, Attribute] | None = None,
) -> Iterator[Span]:
    """One span around the block, with its outcome if it fails; the exception's text is not recorded.

    Args:
        name: Low in cardinality, and free of anything the caller sent.
        kind: Its place in the trace.
        parent: A caller's ``traceparent``, for spans of kind server and consumer. Without one they begin a trace: what
            is current may be the request before on the same connection, in whose context uvicorn reads on.
        link: The ``traceparent`` of what caused this without waiting for it.
        attributes: None may come from an upload.
    """
    tracer = _provider.get_tracer("discgrade", discgrade.__version__)
    caused_by = _remote(link)
    with tracer.start_as_current_span(
        name,
        context=_extract(parent) if kind in _FIRST else None,
        kind=kind,
        attributes=attributes,
        links=[Link(caused_by)] if caused_by.is_valid else None,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_attribute(OUTCOME, outcome_of(error))
            if outcome_class(error) in _OURS:
                current.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def note_end(outcome: str, *, failed: bool, attributes: Mapping[str, Attribute]) -> None:
    """Note on the current span how a request or call was answered.

    Args:
        outcome: ``ok``, the problem type's last part, or ``client-closed-request``.
        failed: Whether that is this server's fault.
        attributes: More to note.
    """
    current = get_current_span()
    current.set_attributes(attributes)
    if outcome != "ok":
        current.set_attribute(OUTCOME, outcome)
    if failed:
        current.set_status(StatusCode.ERROR, outcome)


def traceparent() -> str | None:
    """What tells another service of the current trace; None where there is none, or nobody records it.

    Triton 2.51 records every request that bears a trace, even one whose flags say that nobody does.
    """
    carrier: dict[str, str] = {}
    if not get_current_span().get_span_context().trace_flags.sampled:
        return None
    _PROPAGATOR.inject(carrier)
    return carrier.get(_HEADER)


def trace_id() -> str | None:
    """The current trace's id, 32 hexadecimal digits; None where there is none."""
    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


def _remote(header: str | None) -> SpanContext:
    return get_current_span(_extract(header)).get_span_context()


def _extract(header: str | None) -> Context:
    return _PROPAGATOR.extract({_HEADER: header or ""}, Context())
