"""The page before there is a result: studies handed in, waited for, refused, cancelled; keys at the door."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.door import Scope
from gateway.door.keys import KeyFile
from gateway.embedded import EmbeddedTriton
from tests.support.browser import open_result
from tests.support.processes import Command, free_port
from tests.support.visits import Visit, barriers, visiting

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "web" / "public" / "page" / "phantom.zip"
TELLING = "Mustermann_Erika_PAT-4711"
FORMS = """
    window.sent = [];
    const append = FormData.prototype.append;
    FormData.prototype.append = function (field, file, name) {
      sent.push([field, name ?? file.name]);
      append.call(this, field, file, name);
    };
"""
"""Notes what the page puts into forms: Chromium shows nobody the bodies that hold files."""


@pytest.fixture(scope="module")
def url(triton: EmbeddedTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = str(tmp_path_factory.mktemp("data"))
    server = Command("serve", "--port", "0", "--data-dir", folder, "--triton-url", triton.url)
    try:
        yield server.url
    finally:
        server.kill()


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    with visiting(browser, url) as opened:
        yield opened


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The sample as a folder of files whose names tell who the patient is."""
    folder = tmp_path / TELLING
    with zipfile.ZipFile(SAMPLE) as archive:
        archive.extractall(folder)
    (folder / ".DS_Store").write_bytes(b"left behind")
    return folder


def heading(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def kept(page: Page) -> list[str]:
    """What the page keeps in the browser."""
    stored: list[str] = page.evaluate("[...Object.entries(localStorage), ...Object.entries(sessionStorage)].flat()")
    return [*stored, page.evaluate("document.cookie")]


def test_the_sample_is_graded_and_found_again(visit: Visit) -> None:
    page = visit.open()
    said: list[str] = []
    page.expose_function("heard", lambda text: said.append(text))  # Playwright marks what it is given
    page.evaluate(
        """new MutationObserver(() => heard(document.querySelector("[role=status]").textContent))
           .observe(document.querySelector("[role=status]"), {childList: true, characterData: true, subtree: true})"""
    )
    assert barriers(page) == []
    page.get_by_role("button", name="Try the sample phantom").click()
    heading(page, "6 discs graded")
    assert re.fullmatch(r"#/results/[0-9a-f]{32}", page.evaluate("location.hash"))
    assert kept(page) == [""]
    assert set(said) & {"Waiting for its turn", "Reading", "Preparing", "Segmenting and grading"}
    address = page.url
    page.get_by_role("link", name="Studies").click()
    rows = page.get_by_role("table", name="Past studies").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("graded")
    assert barriers(page) == []
    rows.nth(1).get_by_role("link").click()
    heading(page, "6 discs graded")
    assert page.url == address
    page.go_back()
    heading(page, "New study")


def test_files_are_sent_without_their_names(visit: Visit, unpacked: Path) -> None:
    visit.page.add_init_script(FORMS)
    page = visit.open()
    page.get_by_test_id("folder").set_input_files(unpacked)
    heading(page, "6 discs graded")
    assert page.evaluate("sent") == [["files", str(number)] for number in range(1, 10)]


def test_a_folder_is_dropped(visit: Visit, unpacked: Path) -> None:
    visit.page.add_init_script(FORMS)
    page = visit.open()
    zone = page.get_by_role("region", name="Study to grade")
    box = zone.bounding_box()
    assert box
    devtools = page.context.new_cdp_session(page)
    dragged = {"items": [], "files": [str(unpacked)], "dragOperationsMask": 1}
    at = {"x": box["x"] + 20, "y": box["y"] + 20, "data": dragged}
    devtools.send("Input.dispatchDragEvent", {"type": "dragEnter", **at})
    devtools.send("Input.dispatchDragEvent", {"type": "dragOver", **at})
    expect(zone).to_have_class(re.compile("over"))
    devtools.send("Input.dispatchDragEvent", {"type": "drop", **at})
    heading(page, "6 discs graded")
    assert page.evaluate("sent") == [["files", str(number)] for number in range(1, 10)]


def test_what_cannot_be_graded_says_what_to_change(visit: Visit, tmp_path: Path) -> None:
    page = visit.open()
    letter = tmp_path / "letter.pdf"
    letter.write_text("Dear colleague")
    page.get_by_test_id("files").set_input_files(letter)
    heading(page, "The study was not graded")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The file format is not supported")
    expect(problem).to_contain_text("What to change: Send DICOM files")
    assert barriers(page) == []
    page.get_by_role("link", name="Send another").click()
    expect(page.get_by_role("table", name="Past studies")).to_contain_text("The file format is not supported")
    empty = tmp_path / "empty.dcm"
    empty.touch()
    page.get_by_test_id("files").set_input_files(empty)
    expect(page.get_by_role("alert")).to_contain_text("No files were found")


def test_a_study_is_cancelled_and_another_waits_through_reloads_and_restarts(
    browser: Browser, triton: EmbeddedTriton, tmp_path: Path
) -> None:
    port = str(free_port())
    options = ["--port", port, "--data-dir", str(tmp_path), "--triton-url", triton.url]
    server = Command("serve", "--no-worker", *options)
    try:
        with visiting(browser, server.url) as visit:
            visit.allowed = ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET"]
            page = visit.open()
            page.get_by_test_id("files").set_input_files(SAMPLE)
            heading(page, "Grading")
            page.get_by_role("button", name="Cancel").click()
            heading(page, "Cancelled")
            page.get_by_role("link", name="New study").click()
            expect(page.get_by_role("table", name="Past studies")).to_contain_text("cancelled")
            page.get_by_test_id("files").set_input_files(SAMPLE)
            heading(page, "Grading")
            expect(page.get_by_role("listitem").filter(has_text="Waiting for its turn")).to_have_attribute(
                "aria-current", "step"
            )
            address = page.url
            assert barriers(page) == []
            page.reload()
            heading(page, "Grading")
            assert page.url == address
            server.kill()
            expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
            server = Command("serve", *options)
            assert server.url
            heading(page, "6 discs graded")
    finally:
        server.kill()


def test_a_shut_door_asks_for_a_key(browser: Browser, triton: EmbeddedTriton, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    ward = keys.create("ward", frozenset({Scope.JOBS, Scope.READ}))
    reader = keys.create("reader", frozenset({Scope.READ}))
    server = Command("serve", "--port", "0", "--data-dir", str(tmp_path), "--triton-url", triton.url, "--door", "on")
    try:
        with visiting(browser, server.url) as visit:
            visit.allowed = ["401"]
            page = visit.open()
            heading(page, "Sign in")
            assert barriers(page) == []
            page.get_by_label("API key").fill("dg_wrong")
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_role("alert")).to_contain_text("This API key is not known here")
            page.get_by_label("API key").fill(ward)
            page.keyboard.press("Enter")
            heading(page, "New study")
            assert kept(page) == ["discgrade.key", ward, ""]
            assert ward not in page.url
            page.get_by_role("button", name="Try the sample phantom").click()
            heading(page, "6 discs graded")
            stage = page.get_by_role("application")
            stage.wait_for()
            with page.expect_download() as waiting:
                page.get_by_role("link", name="DICOM SEG").click()
            assert waiting.value.path().read_bytes()[128:132] == b"DICM"
            expect(page.get_by_role("button", name="Delete this result")).to_have_count(0)
            page.reload()
            stage.wait_for()
            result_id = page.url.rsplit("/", 1)[-1]
            keys.revoke("ward")
            page.get_by_role("link", name="Studies").click()
            heading(page, "Sign in")
            expect(page.get_by_role("alert")).to_contain_text("revoked")
            page.get_by_label("API key").fill(reader)
            page.keyboard.press("Enter")
            heading(page, "New study")
            expect(page.get_by_text("they lack the scope jobs")).to_be_visible()
            open_result(page, server.url, result_id)
            page.get_by_role("button", name="Forget key").click()
            heading(page, "Sign in")
            assert kept(page) == [""]
    finally:
        server.kill()
