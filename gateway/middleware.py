"""What surrounds every request: its id, one log line, and a problem document for the unexpected."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from discgrade.errors import ServiceError
from gateway import tracing
from gateway.logs import trace
from gateway.problems import problem_response

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["REQUEST_ID_HEADER", "RequestContext"]

REQUEST_ID_HEADER = "X-Request-ID"
_QUIET = frozenset({"/livez", "/readyz", "/metrics", "/metrics/triton"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Of labels and spans: a caller may send any word as a method."""
_SERVER_ERROR = 500


class RequestContext:
    """ASGI middleware: request id in and out, one log line a request, no exception past this point.

    An incoming ``X-Request-ID`` is kept only if it is a UUID: free text could carry patient data into the logs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if scope["path"] in _QUIET:
                await self._serve(scope, receive, send, request_id)
                return
            parent = headers.get("traceparent")
            method = _method(scope)
            about = {"http.request.method": method, "discgrade.request_id": request_id}
            with tracing.span(method, tracing.SpanKind.SERVER, parent=parent, attributes=about) as span:
                await self._serve(scope, receive, send, request_id)
                span.update_name(f"{method} {_route(scope)}")

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        state = scope["state"]
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        failure = {}
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # the last place to catch it: servers log the text of what escapes
            failure = {"error": trace(error)}
            state["outcome"] = ServiceError.slug
            if status == 0:
                problem = ServiceError("Something unexpected went wrong while handling the request.")
                await problem_response(problem, request_id)(scope, receive, send_with_id)
        route, seconds = _route(scope), time.perf_counter() - started
        outcome = state.get("outcome", "ok")
        tracing.note_end(
            outcome,
            failed=status >= _SERVER_ERROR,
            attributes={"http.response.status_code": status, "http.route": route},
        )
        services: Services | None = state.get("services")
        if services is not None:
            services.metrics.traffic.requests.labels(_method(scope), route, str(status)).inc()
            services.metrics.traffic.request_seconds.labels(route).observe(seconds)
        if route in _QUIET and status < 500:
            return
        report = self._log.error if failure else self._log.info
        report(
            "request",
            request_id=request_id,
            method=scope["method"],
            route=route,
            status=status,
            outcome=outcome,
            duration_ms=round(seconds * 1000, 1),
            **state.get("timings_ms", {}),
            **failure,
        )


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _route(scope: Scope) -> str:
    """The template of the route: a raw path may hold anything."""
    return getattr(scope.get("route"), "path", "unmatched")


def _request_id(wanted: str | None) -> str:
    try:
        return str(uuid.UUID(wanted or ""))
    except ValueError:
        return str(uuid.uuid4())
