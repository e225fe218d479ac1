"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserType, Page, sync_playwright

__all__ = ["chromium_path", "launch", "open_result", "running_browser", "screenshot"]

# The watchdog takes a busy machine for a graphics card that hangs.
_SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-watchdog")
_NO_WEBGL = ("--disable-gpu", "--disable-3d-apis")
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
_START_MS = 120_000


def chromium_path() -> str | None:
    """Where Chromium is; None where it is not installed."""
    return shutil.which("chromium")


def launch(kind: BrowserType, *, webgl: bool = True) -> Browser:
    """Start a headless Chromium with a profile of its own.

    Args:
        kind: Playwright's Chromium.
        webgl: Whether it can draw with WebGL 2, by software.

    Raises:
        RuntimeError: Chromium is not installed.
    """
    path = chromium_path()
    if path is None:
        raise RuntimeError("chromium is not installed: see debian-packages.txt")
    drawing = _SOFTWARE_WEBGL if webgl else _NO_WEBGL
    return kind.launch(executable_path=path, chromium_sandbox=False, args=[*_QUIET, *drawing], timeout=_START_MS)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a headless Chromium. As long as it runs, its thread can run no other event loop."""
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        try:
            yield browser
        finally:
            browser.close()


def open_result(page: Page, url: str, result_id: str) -> None:
    """Show a result, and wait until its slices are drawn.

    Args:
        page: A tab.
        url: Base URL of the server.
        result_id: The result.
    """
    page.goto(f"{url}/#/results/{result_id}")
    page.get_by_role("application").wait_for(timeout=60_000)


def screenshot(
    url: str,
    result_id: str,
    path: Path,
    *,
    size: tuple[int, int] = (1280, 800),
    dark: bool = True,
    level: str = "L4/L5",
) -> Path:
    """Save a picture of the page with a result.

    Args:
        url: Base URL of the server.
        result_id: The result.
        path: The PNG to write.
        size: Width and height of the window in CSS pixels.
        dark: Whether the page is dark.
        level: Disc level that is chosen, if the result has it.

    Raises:
        RuntimeError: Chromium is not installed.
    """
    with running_browser() as browser:
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        open_result(page, url, result_id)
        disc = page.get_by_role("button", name=level, exact=True)
        if disc.count():
            disc.click()
        page.screenshot(path=path)
    return path
