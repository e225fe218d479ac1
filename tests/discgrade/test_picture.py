"""The picture in a terminal."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from discgrade import _picture
from discgrade.result import GradingResult
from gateway.pictures.overlay import HEADER_HEIGHT, PANEL_WIDTH, footer_height
from tests.discgrade.test_result import disc, result

LINE = (0xF2, 0x6B, 0x1D)
SIZE = (500, 1000)


def overlay(*lines: int, of: GradingResult | None = None) -> bytes:
    """A grey picture with thin coloured lines across its right half, as an overlay of the server."""
    footer = footer_height(of or discs("L4/L5"), SIZE[0] + PANEL_WIDTH)
    pixels = np.full((HEADER_HEIGHT + SIZE[1] + footer, SIZE[0] + PANEL_WIDTH, 3), 18, np.uint8)
    pixels[HEADER_HEIGHT : HEADER_HEIGHT + SIZE[1], : SIZE[0]] = 100
    for row in (HEADER_HEIGHT + line for line in lines):
        pixels[row : row + 4, SIZE[0] // 2 : SIZE[0] + 30] = LINE
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def discs(*levels: str, **changes: object) -> GradingResult:
    return GradingResult.model_validate(result(discs=[disc(level=level) for level in levels], **changes))


def terminal(**changes: object) -> Console:
    options = {"force_terminal": True, "color_system": "truecolor", "width": 80, "height": 42, **changes}
    return Console(file=io.StringIO(), **options)  # type: ignore[arg-type]


def drawn(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_thin_lines_keep_their_colour_and_carry_names() -> None:
    console = terminal()
    assert _picture.show(console, overlay(200, 700), discs("L3/L4", "L4/L5"))
    rows = drawn(console)
    assert len(rows) == 40
    assert all(row.count("▀") == 40 for row in rows)
    assert {number for number, row in enumerate(rows) if "L3/L4 II" in row} == {8}
    assert {number for number, row in enumerate(rows) if "L4/L5 II" in row} == {28}
    colour = ";".join(str(value) for value in LINE)
    assert [number for number, row in enumerate(rows) if colour in row] == [8, 28]
    assert "38;2;100;100;100" in rows[0]


def test_warnings_below_the_picture_are_left_out() -> None:
    warned = discs("L4/L5", warnings=[{"code": "single_slice", "message": "The study has a single slice. " * 5}])
    shown = []
    for of in (warned, discs("L4/L5")):
        console = terminal()
        assert _picture.show(console, overlay(700, of=of), of)
        shown.append(drawn(console))
    assert shown[0] == shown[1]


def test_names_are_left_out_where_lines_cannot_be_told_apart() -> None:
    console = terminal()
    assert _picture.show(console, overlay(200, 206), discs("L3/L4", "L4/L5"))
    assert not any("L3/L4" in row for row in drawn(console))


@pytest.mark.parametrize(
    "changes",
    [{"force_terminal": False}, {"color_system": "standard"}, {"color_system": None}, {"width": 30}, {"height": 15}],
)
def test_nothing_is_drawn_where_it_could_not_be_seen(changes: dict[str, object]) -> None:
    console = terminal(**changes)
    assert not _picture.show(console, overlay(200), discs("L4/L5"))
    assert drawn(console) == []


def test_it_fits_a_narrow_terminal() -> None:
    console = terminal(width=50)
    assert _picture.show(console, overlay(500), discs("L4/L5"))
    assert all(row.count("▀") <= 36 for row in drawn(console))
