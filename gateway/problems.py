"""Every error leaves as an RFC 9457 problem document that names the request and says what to change."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from discgrade.errors import DiscgradeError, InvalidRequest, NotFound

__all__ = ["CLIENT_CLOSED_REQUEST", "PROBLEM_MEDIA_TYPE", "install", "problem_response"]

PROBLEM_MEDIA_TYPE = "application/problem+json"
CLIENT_CLOSED_REQUEST = 499


class _MethodNotAllowed(InvalidRequest):
    status = 405
    slug = "method-not-allowed"
    title = "The method is not allowed here"


def problem_response(error: DiscgradeError, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """Answer with an error's problem document.

    Args:
        error: What happened.
        request_id: Names this occurrence, in the body and as ``urn:discgrade:request:…`` in ``instance``.
        headers: Further response headers.
    """
    body: dict[str, Any] = error.problem()
    body["instance"] = f"urn:discgrade:request:{request_id}"
    body["request_id"] = request_id
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    if error.retry_after_seconds is not None:
        all_headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    if error.status == HTTPStatus.UNAUTHORIZED:
        all_headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, error.status, all_headers, PROBLEM_MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn every exception a route or the router raises into a problem document."""
    app.add_exception_handler(DiscgradeError, _discgrade_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)


def _respond(request: Request, error: DiscgradeError, headers: dict[str, str] | None = None) -> Response:
    request.state.outcome = error.slug
    return problem_response(error, request.state.request_id, headers)


async def _discgrade_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DiscgradeError)
    return _respond(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Names of the fields only: the values may be anything.
    fields = ", ".join(sorted({".".join(str(part) for part in item["loc"]) for item in error.errors()}))
    return _respond(request, InvalidRequest(f"The request does not match the API description at: {fields}."))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _respond(request, NotFound("There is nothing at this address.", "See the API description at /docs."))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = headers["Allow"] = ", ".join(_methods(request, headers.get("Allow", "")))
        problem = _MethodNotAllowed("This address does not answer to that method.", f"Use {allowed}.")
        return _respond(request, problem, headers)
    return _respond(request, InvalidRequest("The request could not be understood."), headers)


def _methods(request: Request, allowed: str) -> list[str]:
    """Every method this address answers to; the router itself names those of its first route alone."""
    route = getattr(request.scope.get("route"), "path", "")
    described = request.app.openapi()["paths"].get(route, {})
    return sorted({*filter(None, allowed.split(", ")), *(method.upper() for method in described)})


async def _client_gone(request: Request, _: Exception) -> Response:
    request.state.outcome = "client-closed-request"
    return Response(status_code=CLIENT_CLOSED_REQUEST)
