"""The page with a result, in a real browser."""

from __future__ import annotations

import base64
import gzip
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from gateway.embedded import EmbeddedTriton
from tests.support.browser import launch, open_result
from tests.support.pacs import until
from tests.support.processes import Command
from tests.support.visits import Visit, barriers, visiting
from training.phantom import PhantomSpec, make_phantom, write_nifti

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "web" / "public" / "page" / "phantom.zip"


@pytest.fixture(scope="module")
def url(triton: EmbeddedTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Command(
        "serve", "--port", "0", "--data-dir", str(tmp_path_factory.mktemp("data")), "--triton-url", triton.url
    )
    try:
        yield server.url
    finally:
        server.kill()


def grade(url: str, study: Path) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/grade", files={"files": study.read_bytes()}, timeout=120)
    assert answer.status_code == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.fixture(scope="module")
def result(url: str) -> dict[str, Any]:
    """The sample, graded: a DICOM series of nine slices."""
    return grade(url, SAMPLE)


@pytest.fixture(scope="module")
def turned(url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A NIfTI study whose axes run otherwise than those of DICOM: from left to right and from the feet to the head."""
    path = tmp_path_factory.mktemp("study") / "turned.nii.gz"
    write_nifti(make_phantom(PhantomSpec(slices=5, matrix=(300, 240), pixel_mm=0.8, tilt_deg=(4, 2, 3))), path)
    image = nib.nifti1.load(path)
    nib.save(image.as_reoriented(nib.orientations.axcodes2ornt("SRA")), path)  # now stored in this order
    return grade(url, path)


@pytest.fixture(scope="module")
def tall(url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Discs from edge to edge: the uppermost lies next to the end of the image."""
    phantom = make_phantom(PhantomSpec(seed=7, grades=(4, 5, 3, 2, 2, 1), slices=5))
    path = tmp_path_factory.mktemp("study") / "tall.nii.gz"
    write_nifti(phantom, path)
    return grade(url, path)


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    with visiting(browser, url) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(browser: Browser, url: str, result: dict[str, Any]) -> Iterator[Visit]:
    with visiting(browser, url) as opened:
        open_result(opened.page, url, result["result_id"])
        yield opened


@pytest.fixture
def page(shared: Visit) -> Page:
    """The sample's result, as it is when it was just opened but for the chosen disc."""
    shared.check()
    stage(shared.page).press("0")
    return shared.page


def stage(page: Page) -> Locator:
    return page.get_by_role("application")


def canvas(page: Page) -> NDArray[np.float64]:
    """What is drawn, grey, with nothing lying on it."""
    page.evaluate("document.querySelector('.marks').style.visibility = 'hidden'")
    whole = Image.open(io.BytesIO(page.screenshot())).convert("L")
    page.evaluate("document.querySelector('.marks').style.visibility = ''")
    box = page.locator("canvas").bounding_box()
    assert box
    left, top = round(box["x"]), round(box["y"])  # a canvas is drawn on whole pixels
    return np.asarray(whole, np.float64)[top : top + int(box["height"]), left : left + int(box["width"])]


def inside_outlines(page: Page) -> NDArray[np.bool_]:
    """The parts of the canvas that are outlined."""
    data: str = page.evaluate(
        """() => {
          const stage = document.querySelector(".stage");
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [stage.clientWidth, stage.clientHeight];
          const pen = canvas.getContext("2d");
          for (const path of stage.querySelectorAll(".disc path")) {
            pen.setTransform(path.getCTM());
            pen.fill(new Path2D(path.getAttribute("d")));
          }
          return canvas.toDataURL();
        }"""
    )
    picture = Image.open(io.BytesIO(base64.b64decode(data.split(",")[1])))
    return np.asarray(picture)[..., 3] > 127


def row(page: Page, level: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("button", name=level, exact=True))


def slice_shown(page: Page) -> int:
    found = re.match(r"Sagittal slice (\d+) of", stage(page).get_attribute("aria-label") or "")
    assert found
    return int(found[1])


def in_sight(page: Page, outlines: str) -> bool:
    """Whether outlines lie within the picture, to the pixel."""
    frame = stage(page).bounding_box()
    assert frame
    for outline in page.locator(outlines).all():
        disc = outline.bounding_box()
        assert disc
        across = frame["x"] - 1 <= disc["x"] and disc["x"] + disc["width"] <= frame["x"] + frame["width"] + 1
        down = frame["y"] - 1 <= disc["y"] and disc["y"] + disc["height"] <= frame["y"] + frame["height"] + 1
        if not (across and down):
            return False
    return True


def show_instead(visit: Visit, url: str, result_id: str, make: Callable[[nib.Nifti1Image], NDArray[Any]]) -> Page:
    """Show a result with an image of the same geometry but other pixels."""
    answer = httpx.get(f"{url}/v1/results/{result_id}/segmentation.nii.gz")
    labels = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    image = nib.Nifti1Image(make(labels).astype(np.int16), labels.affine)
    body = gzip.compress(image.to_bytes())
    visit.page.route("**/image.nii.gz", lambda route: route.fulfill(body=body))
    open_result(visit.page, url, result_id)
    return visit.page


def position(labels: nib.Nifti1Image, axis: int) -> NDArray[np.float64]:
    """Of each voxel along an axis of the patient (right, front, head), from 0 to 1000."""
    indices = np.indices(labels.shape).reshape(3, -1)
    mm = (labels.affine[:3, :3] @ indices)[axis].reshape(labels.shape)
    ramp: NDArray[np.float64] = 1000 * (mm - mm.min()) / np.ptp(mm)
    return ramp


@pytest.mark.parametrize("study", ["result", "turned"])
def test_outlines_lie_on_the_pixels_of_their_discs(
    visit: Visit, url: str, study: str, request: pytest.FixtureRequest
) -> None:
    result_id = request.getfixturevalue(study)["result_id"]
    page = show_instead(visit, url, result_id, lambda labels: 1000 * (np.asarray(labels.dataobj) > 0))
    for least in (0.85, 0.92):  # the enlarged picture has fewer pixels at edges
        outlined = inside_outlines(page)
        bright = canvas(page)[: outlined.shape[0], : outlined.shape[1]] > 127
        assert np.count_nonzero(bright & outlined) > least * np.count_nonzero(bright | outlined)
        for _ in range(4):
            page.get_by_role("button", name="Larger").click()


@pytest.mark.parametrize("study", ["result", "turned"])
def test_front_is_left_head_is_up_and_slices_begin_at_the_right(
    visit: Visit, url: str, study: str, request: pytest.FixtureRequest
) -> None:
    result_id = request.getfixturevalue(study)["result_id"]
    page = show_instead(
        visit, url, result_id, lambda labels: np.mean([position(labels, axis) for axis in range(3)], axis=0)
    )
    stage(page).press("Home")
    at_the_right = canvas(page)
    height, width = at_the_right.shape
    middle = at_the_right[height // 3 : -height // 3, width // 3 : -width // 3]
    assert middle[:, 0].mean() > middle[:, -1].mean() + 10
    assert middle[0].mean() > middle[-1].mean() + 10
    stage(page).press("End")
    assert at_the_right[height // 2, width // 2] > canvas(page)[height // 2, width // 2] + 30


def test_names_are_read_on_bright_tissue(visit: Visit, url: str, result: dict[str, Any]) -> None:
    page = show_instead(visit, url, result["result_id"], lambda labels: 1000 * (np.asarray(labels.dataobj) == 0))
    names = page.locator("g.disc text")
    expect(names).to_have_count(len(result["discs"]))
    for name in names.all():
        pixels = np.asarray(Image.open(io.BytesIO(name.screenshot())).convert("L"), np.float64) / 255
        # sRGB to luminance, WCAG 2.2's contrast; half of what a name covers is its ground.
        ground, ink = (np.quantile(pixels, share) ** 2.2 + 0.05 for share in (0.5, 0.99))
        assert ink / ground > 7


def test_all_discs_are_in_sight_at_first_and_in_a_window_of_another_size(
    visit: Visit, url: str, tall: dict[str, Any]
) -> None:
    open_result(visit.page, url, tall["result_id"])
    for width, height in ((1280, 800), (1280, 560), (760, 1000)):
        visit.page.set_viewport_size({"width": width, "height": height})
        expect(visit.page.locator("g.disc path")).to_have_count(len(tall["discs"]))
        until(lambda: in_sight(visit.page, "g.disc path"))


def test_every_figure_is_the_results(page: Page, result: dict[str, Any]) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{len(result['discs'])} discs graded")
    for disc in result["discs"]:
        shown = row(page, disc["level"]).inner_text().replace("\u202f", "")
        for figure in (
            disc["severity"],
            disc["pfirrmann"],
            f"{disc['height_mm']:.1f} mm",
            f"{int(disc['area_mm2'] + 0.5)} mm²",
            f"{int(disc['volume_mm3'] + 0.5)} mm³",
        ):
            assert figure in shown
        page.get_by_role("button", name=disc["level"], exact=True).click()
        for name, of in (("severity", "severity"), ("Pfirrmann grade", "pfirrmann")):
            bars = page.get_by_role("table", name=f"Probability of each {name}").get_by_role("row")
            probabilities = disc[f"{of}_probabilities"]
            assert [bar.split() for bar in bars.all_inner_texts()] == [
                [key, str(int(100 * value + 0.5)), "%"] for key, value in probabilities.items()
            ]
    warnings = page.get_by_role("region", name=re.compile("Warning"))
    expect(warnings).to_have_count(1 if result["warnings"] else 0)


def test_a_disc_clicked_in_the_picture_is_chosen_in_the_table(page: Page) -> None:
    for name in ("L3/L4", "L1/L2"):
        disc = page.locator("g.disc", has_text=name)
        box = disc.locator("path").bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
        expect(page.locator("g.disc.chosen")).to_contain_text(name)
        expect(page.locator("tr.chosen")).to_have_count(1)
        expect(page.get_by_role("heading", level=2, name=name)).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text(f"{name} chosen")
    page.mouse.click(20, 120)  # where there is no disc
    expect(page.locator("g.disc.chosen")).to_contain_text("L1/L2")


def test_keys_go_through_the_rows_and_the_picture_follows(page: Page, result: dict[str, Any]) -> None:
    stage(page).press("Home")
    assert slice_shown(page) == 1
    for _ in range(3):
        page.get_by_role("button", name="Larger").click()
    levels = [disc["level"] for disc in result["discs"]]
    page.get_by_role("button", name=levels[0], exact=True).focus()
    for level in [*levels[1:], levels[-1]]:
        page.keyboard.press("ArrowDown")
        button = page.get_by_role("button", name=level, exact=True)
        expect(button).to_be_focused()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator("g.disc.chosen")).to_contain_text(level)
        until(lambda: in_sight(page, "g.disc.chosen path"))  # the picture follows in one of the next frames
    assert slice_shown(page) > 1
    page.keyboard.press("Home")
    expect(page.get_by_role("button", name=levels[0], exact=True)).to_be_focused()


def test_a_disc_in_sight_is_chosen_without_moving_the_others(page: Page, result: dict[str, Any]) -> None:
    def corner() -> list[float]:
        moved: list[float] = page.locator("g.disc path").first.evaluate("path => [path.getCTM().e, path.getCTM().f]")
        return moved

    before = corner()
    for disc in result["discs"]:
        page.get_by_role("button", name=disc["level"], exact=True).click()
        expect(page.locator("g.disc.chosen")).to_contain_text(disc["level"])
        assert corner() == before


def test_slices_are_scrolled_by_wheel_keys_and_slider(page: Page) -> None:
    frame = stage(page).bounding_box()
    assert frame
    page.mouse.move(frame["x"] + 50, frame["y"] + 50)
    at = slice_shown(page)
    page.mouse.wheel(0, 100)
    expect(stage(page)).to_have_attribute("aria-label", re.compile(f"slice {at + 1} of 9"))
    page.mouse.wheel(0, -100)
    stage(page).press("ArrowUp")
    expect(stage(page)).to_have_attribute("aria-label", re.compile(f"slice {at - 1} of 9"))
    before = canvas(page)
    slider = page.get_by_role("slider")
    slider.fill("9")
    assert slice_shown(page) == 9
    assert np.abs(canvas(page) - before).mean() > 3
    stage(page).press("ArrowRight")
    assert slice_shown(page) == 9
    expect(page.get_by_role("status")).to_have_text("Slice 9 of 9")


def test_window_and_level_change_by_mouse_keys_and_fields(page: Page) -> None:
    window, level = (page.get_by_role("spinbutton", name=name) for name in ("Window", "Level"))
    usual = float(window.input_value()), float(level.input_value())
    before = canvas(page)
    frame = stage(page).bounding_box()
    assert frame
    page.mouse.move(frame["x"] + 30, frame["y"] + 200)
    page.mouse.down()
    page.mouse.move(frame["x"] + 100, frame["y"] + 100, steps=4)
    page.mouse.up()
    assert float(window.input_value()) > usual[0]
    assert float(level.input_value()) > usual[1]
    darker = canvas(page)
    assert darker.mean() < before.mean() - 10
    stage(page).press("Shift+ArrowDown")
    stage(page).press("Shift+ArrowDown")
    assert canvas(page).mean() > darker.mean()
    window.fill("100")
    window.press("Enter")
    assert len(np.unique(canvas(page) > 127)) == 2
    stage(page).press("0")
    assert (float(window.input_value()), float(level.input_value())) == usual
    assert np.abs(canvas(page) - before).mean() < 0.5


def test_each_link_downloads_its_file(page: Page, url: str, result: dict[str, Any]) -> None:
    address = f"{url}/v1/results/{result['result_id']}"
    links = page.get_by_role("region", name="Downloads").get_by_role("link")
    names = [str(link.get_attribute("href")).rsplit("/", 1)[-1] for link in links.all()]
    assert set(names) >= {"segmentation.nii.gz", "image.nii.gz", "overlay.png", "segmentation.dcm", "report.sr.dcm"}
    for link, name in zip(links.all(), names, strict=True):
        with page.expect_download() as waiting:
            link.click()
        saved = Path(waiting.value.path()).read_bytes()
        asked = address if name == result["result_id"] else f"{address}/{name}"
        assert saved == httpx.get(asked).content
        assert waiting.value.suggested_filename.startswith(f"discgrade-{result['result_id'][:8]}-")
        assert result["input"]["chosen_series"] not in waiting.value.suggested_filename


def test_what_a_nifti_study_cannot_have_is_greyed_with_the_reason(
    visit: Visit, url: str, turned: dict[str, Any]
) -> None:
    open_result(visit.page, url, turned["result_id"])
    links = visit.page.get_by_role("region", name="Downloads").get_by_role("link", disabled=True)
    assert {text.split("\n")[0] for text in links.locator("strong").all_inner_texts()} >= {"DICOM SEG", "DICOM SR"}
    for link in links.all():
        assert link.get_attribute("href") is None
        expect(link).to_have_accessible_description(re.compile("NIfTI"))


def test_a_result_that_is_gone_says_so(visit: Visit) -> None:
    visit.allowed = ["404"]
    page = visit.open(f"#/results/{'0' * 32}")
    expect(page.get_by_role("alert")).to_contain_text("What to change")
    page.get_by_role("link", name="To all studies").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New study")


def test_a_result_is_deleted_only_when_asked_twice(visit: Visit, url: str) -> None:
    result_id = grade(url, SAMPLE)["result_id"]
    open_result(visit.page, url, result_id)
    visit.page.get_by_role("button", name="Delete this result").click()
    visit.page.get_by_role("button", name="Keep it").click()
    assert httpx.get(f"{url}/v1/results/{result_id}").status_code == 200
    visit.page.get_by_role("button", name="Delete this result").click()
    visit.page.get_by_role("button", name="Delete for good").click()
    expect(visit.page.get_by_role("status")).to_have_text("The result was deleted.")
    assert httpx.get(f"{url}/v1/results/{result_id}").status_code == 404


def test_without_webgl_the_servers_picture_is_shown(browser: Browser, url: str, result: dict[str, Any]) -> None:
    plain = launch(browser.browser_type, webgl=False)
    try:
        with visiting(plain, url) as visit:
            visit.allowed = ["WebGL"]
            page = visit.open(f"#/results/{result['result_id']}")
            expect(page.get_by_text("This browser has no WebGL 2")).to_be_visible()
            picture = page.get_by_role("img", name=re.compile(r"L4.L5 severe, Pfirrmann"))
            expect(picture).to_be_visible()
            assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 400
            page.get_by_role("button", name="L4/L5", exact=True).click()
            expect(page.get_by_role("heading", level=2, name=re.compile(r"L4.L5"))).to_be_visible()
            assert barriers(page) == []
    finally:
        plain.close()


def test_nothing_keeps_people_out(page: Page) -> None:
    page.get_by_role("button", name="L4/L5", exact=True).click()
    page.get_by_text("Study and models").click()
    page.get_by_text("Mouse and keys").click()
    theme = page.get_by_role("combobox", name="Theme")
    whole = page.locator("html")
    for wanted, shown in (("system", "light"), ("dark", "dark")):
        theme.select_option(wanted)
        expect(whole).to_have_css("color-scheme", shown)
        assert barriers(page) == []
    theme.select_option("system")
    page.emulate_media(color_scheme="dark")
    expect(whole).to_have_css("color-scheme", "dark")
    theme.select_option("light")
    expect(whole).to_have_css("color-scheme", "light")
    page.emulate_media(color_scheme="light")


def test_everything_is_reached_by_tab(page: Page) -> None:
    page.get_by_role("link", name="Skip to content").focus()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.getAttribute('role') ?? document.activeElement.localName"))
        if seen[-1] == "body":
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"application", "input", "select", "button", "summary", "a"} <= set(seen)
    assert seen[-1] == "body"


def test_nothing_is_cut_off_where_it_is_narrow(page: Page) -> None:
    """640 pixels is also what a window of 1280 has left at a zoom of 200 %."""
    page.get_by_role("button", name="L4/L5", exact=True).click()
    findings = page.locator(".findings")
    for width in (1152, 640, 360, 320):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert findings.evaluate("element => element.scrollWidth <= element.clientWidth")
    page.get_by_role("button", name="Show in the picture").click()
    expect(stage(page)).to_be_in_viewport()
    expect(page.locator("g.disc.chosen path")).to_be_in_viewport()
