"""Tabs of a browser that notice what a page should never do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

expect.set_options(timeout=60_000)  # software draws the slices, on machines that are shared

__all__ = ["Visit", "barriers", "visiting"]


class Visit:
    """A tab with storage of its own.

    Attributes:
        page: The tab.
        allowed: Parts of console messages that this test expects.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.allowed: list[str] = []
        self._complaints: list[str] = []
        self._requests: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._complaints.append(f"uncaught: {error}"))
        page.on("request", self._on_request)

    def open(self, view: str = "#/") -> Page:
        """Go to a view of the page."""
        self.page.goto(f"{self.url}/{view}")
        return self.page

    def check(self) -> None:
        """Fail if an error was logged (breaches of the page's policy are), or anything asked of another server."""
        left = [text for text in self._complaints if not any(part in text for part in self.allowed)]
        assert left == []
        local = (f"{self.url}/", "blob:", "data:")
        assert [address for address in self._requests if not address.startswith(local)] == []

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        self._requests.append(request.url)


@contextmanager
def visiting(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """Open a tab; options are those of Playwright's contexts. What the tab noticed is checked at the end."""
    settings: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options}
    context = browser.new_context(**settings)
    context.set_default_timeout(60_000)
    try:
        visit = Visit(context.new_page(), url)
        yield visit
        visit.check()
    finally:
        context.close()


def barriers(page: Page) -> list[str]:
    """What axe-core finds on a page that keeps people out of it (WCAG 2.2 AA and good practice).

    Every view has one main heading; until it is there the page has not drawn its view yet.
    """
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
