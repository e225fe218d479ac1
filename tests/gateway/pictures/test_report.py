from __future__ import annotations

import io
from itertools import combinations

import pytest
from hypothesis import given, settings
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from discgrade.result import DISCLAIMER, GradingResult
from gateway.made import make_all
from gateway.pictures import REPORT_TITLE
from gateway.pictures.report import draw_report
from gateway.pictures.scene import Raster
from tests.support.pictured import Layout, kept_of, layouts, overlap, pictured
from training.phantom import Phantom


@settings(max_examples=10, deadline=None)
@given(layouts())
def test_everything_has_its_place_on_the_one_page(layout: Layout) -> None:
    page = draw_report(*pictured(layout), "0" * 32)
    words = [(word.text, word.box) for word in page.words]
    for word in page.words:
        left, top, right, bottom = word.box
        assert left >= 35
        assert right <= page.width - 30
        assert top >= 20
        assert bottom <= page.height - 15
        assert word.size >= 3
    pictures = [("picture", item.box) for item in page.items if isinstance(item, Raster)]
    assert len(pictures) == 1 + len(layout.levels)
    met = [(one, other) for (one, box), (other, its) in combinations(words + pictures, 2) if overlap(box, its)]
    assert met == []


@settings(max_examples=5, deadline=None)
@given(layouts())
def test_all_that_matters_is_said(layout: Layout) -> None:
    planes, result = pictured(layout)
    said = " ".join(word.text for word in draw_report(planes, result, "a reference").words)
    for warning in result.warnings:
        assert warning.message in said
    for model in result.models:
        assert f"{model.name} {model.version} ({model.engine})" in said
    assert DISCLAIMER in said
    assert "a reference" in said


@pytest.fixture(scope="module")
def report(phantom: Phantom) -> bytes:
    return make_all(kept_of(phantom))["report.pdf"]


def test_text_is_text(report: bytes, phantom: Phantom) -> None:
    reader = PdfReader(io.BytesIO(report))
    (page,) = reader.pages
    text = page.extract_text()
    for expected in (*phantom.levels, DISCLAIMER, "Pfirrmann IV · severe 80 %", "lumbar_grading 1 (ensemble)", "mm²"):
        assert expected in text
    result = GradingResult.model_validate_json(kept_of(phantom)["result.json"])
    for disc in result.discs:
        assert f"{disc.height_mm:.1f}" in text
    assert reader.metadata is not None
    assert reader.metadata.title == REPORT_TITLE


def test_fonts_are_embedded(report: bytes) -> None:
    (page,) = PdfReader(io.BytesIO(report)).pages
    resources = page["/Resources"]
    assert isinstance(resources, DictionaryObject)
    fonts = resources["/Font"]
    assert isinstance(fonts, DictionaryObject)
    described = [font.get_object()["/FontDescriptor"] for font in fonts.values()]
    assert len(described) == 2
    assert all("/FontFile2" in descriptor for descriptor in described)


def test_the_same_result_gives_the_same_bytes(report: bytes, phantom: Phantom) -> None:
    assert make_all(kept_of(phantom))["report.pdf"] == report
