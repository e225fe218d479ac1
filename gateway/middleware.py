"""What surrounds every request: its id, one log line, and a problem document for the unexpected."""

from __future__ import annotations

import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from discgrade.errors import ServiceError
from gateway.logs import trace
from gateway.problems import problem_response

__all__ = ["REQUEST_ID_HEADER", "RequestContext"]

REQUEST_ID_HEADER = "X-Request-ID"
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})


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
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
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
        route = getattr(scope.get("route"), "path", "unmatched")  # the template: a raw path may hold anything
        if route in _QUIET and status < 500:
            return
        report = self._log.error if failure else self._log.info
        report(
            "request",
            request_id=request_id,
            method=scope["method"],
            route=route,
            status=status,
            outcome=state.get("outcome", "ok"),
            duration_ms=round((time.perf_counter() - started) * 1000, 1),
            **state.get("timings_ms", {}),
            **failure,
        )


def _request_id(wanted: str | None) -> str:
    try:
        return str(uuid.UUID(wanted or ""))
    except ValueError:
        return str(uuid.uuid4())
