"""Metrics of requests, calls and storage: how many, how long, and how they ended."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["Traffic"]

_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_STORE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Traffic:
    """The collectors.

    Args:
        registry: Where they are exposed.

    Attributes:
        requests: HTTP requests by method, route (the template) and status.
        request_seconds: Their durations by route.
        calls: gRPC calls by method and status code.
        call_seconds: Their durations by method.
        storage_seconds: Operations of the storage by outcome: ``ok``, ``missing`` or ``error``.
        stored_bytes: Bytes of results kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "discgrade_http_requests",
            "HTTP requests by method, route (the template) and status; 0 where the client left first.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "discgrade_http_seconds", "Duration of HTTP requests.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.calls = Counter(
            "discgrade_grpc_calls", "gRPC calls by method and status code.", ["method", "code"], registry=registry
        )
        self.call_seconds = Histogram(
            "discgrade_grpc_seconds", "Duration of gRPC calls.", ["method"], buckets=_SECONDS, registry=registry
        )
        self.storage_seconds = Histogram(
            "discgrade_storage_seconds",
            "Duration of keeping, reading and removing results and uploads.",
            ["operation", "outcome"],
            buckets=_STORE_SECONDS,
            registry=registry,
        )
        self.stored_bytes = Counter("discgrade_stored_bytes", "Bytes of results kept.", registry=registry)
        self.storage_seconds.labels("save", "ok")
