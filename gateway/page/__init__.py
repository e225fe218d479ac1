"""The page at ``/``: static files, built from ``web/`` and kept beside this module (docs/page.md)."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from discgrade.errors import NotFound

__all__ = ["ASSETS", "PAGE_POLICY", "STATIC", "router"]

STATIC = Path(__file__).parent / "static"
"""What Vite wrote: ``index.html``, and below ``page/`` all that it loads."""

ASSETS = "/page"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; "  # pictures fetched with a key; the font that NiiVue carries
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy of the page: scripts and styles are files of this server; no text becomes a script."""

_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".md": "text/markdown",
    ".svg": "image/svg+xml",
    ".zip": "application/zip",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"

router = APIRouter(include_in_schema=False)
_assets = {path.name: path for path in (STATIC / "page").iterdir()}


@router.api_route("/", methods=["GET", "HEAD"])
async def page() -> Response:
    """Answer with the page, which is public: whatever it shows, it asks the API for."""
    return FileResponse(STATIC / "index.html", media_type="text/html", headers={"Cache-Control": _ASK_FIRST})


@router.api_route(f"{ASSETS}/{{name}}", methods=["GET", "HEAD"])
async def asset(name: str) -> Response:
    """Answer with a file that the page loads."""
    path = _assets.get(name)
    if path is None:
        raise NotFound("The page has no such file.", "Load the page again: it may have been updated meanwhile.")
    named_by_content = path.suffix in (".css", ".js")  # Vite puts a hash of it into the name
    headers = {"Cache-Control": _FOR_EVER if named_by_content else _ASK_FIRST}
    return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)
