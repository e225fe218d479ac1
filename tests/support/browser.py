"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

__all__ = ["chromium_path", "open_result", "running_browser", "screenshot"]

SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""WebGL 2 without a graphics card."""

_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def chromium_path() -> str | None:
    """Where Chromium is; None where it is not installed."""
    return shutil.which("chromium")


@contextmanager
def running_browser(*, webgl: bool = True) -> Iterator[Browser]:
    """Start a headless Chromium with a profile of its own.

    Args:
        webgl: Whether it can draw with WebGL 2, by software.
    """
    path = chromium_path()
    if path is None:
        raise RuntimeError("chromium is not installed: see debian-packages.txt")
    drawing = SOFTWARE_WEBGL if webgl else ("--disable-gpu", "--disable-3d-apis")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, chromium_sandbox=False, args=[*_QUIET, *drawing], timeout=120_000
        )
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
    page.get_by_role("application").wait_for(timeout=120_000)


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
