"""What every answer tells a browser, and what no other web site may have its visitors' browsers do."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from discgrade.errors import Forbidden
from gateway.page import PAGE_POLICY
from gateway.problems import problem_response

__all__ = ["BrowserRules"]

_DOCS = "/docs"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OTHER_SITES = frozenset({"cross-site", "same-site"})


class BrowserRules:
    """ASGI middleware: the headers OWASP advises for an API, and no writing requests from other sites' pages.

    There is no CORS anywhere, so no other site may read an answer; but a form of any site may post a study to a server
    on its visitor's own machine, where the door is open. Browsers say so in ``Sec-Fetch-Site`` (W3C Fetch Metadata).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"] == "/":
                    headers["Content-Security-Policy"] = PAGE_POLICY
                if scope["path"].startswith(_DOCS):
                    headers["Content-Security-Policy"] = _DOCS_POLICY
                if scope.get("scheme") == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        from_elsewhere = Headers(scope=scope).get("sec-fetch-site", "").lower() in _OTHER_SITES
        if from_elsewhere and scope["method"] not in _SAFE_METHODS:
            refusal = Forbidden("A page of another web site sent this request.", "Send it from a program of your own.")
            scope["state"]["outcome"] = refusal.slug
            response = problem_response(refusal, scope["state"]["request_id"])
            await response(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)
