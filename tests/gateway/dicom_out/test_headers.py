"""Whatever the source's header says, there are objects, or an answer that says why there are none."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.datadict import dictionary_VR, tag_for_keyword

from discgrade.errors import NotFound
from gateway.dicom_out import DICOM_FILES, DICOM_OVERLAY, DICOM_PDF, build_dicom, build_overlay, build_pdf
from gateway.pictures.png_out import png
from preprocess.quiet import quiet
from preprocess.source import SOURCE_KEYWORDS
from tests.support.dicom_results import parsed
from tests.support.random_series import random_result

OVERLAY = png(Image.new("RGB", (3, 2)))
TEXTS = [word for word in SOURCE_KEYWORDS if dictionary_VR(word) not in ("SQ", "DS")]
PIECES = st.sampled_from(
    ["", "^", "=", "\\", "a", "Ä", "山", "\0", "\r\n", " ", "20200101", "1.2.3", "é" * 70, "😀", "..", "-"]
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return random_result(1, tmp_path_factory.mktemp("series"), slices=2, multiframe=False)[0]


@settings(max_examples=40, deadline=None)
@given(said=st.dictionaries(st.sampled_from(TEXTS), st.lists(st.lists(PIECES, max_size=4).map("".join), max_size=2)))
def test_odd_values_are_no_accident(kept: dict[str, bytes], said: dict[str, list[str]]) -> None:
    source = json.loads(kept["source.json"])
    for keyword, texts in said.items():
        vr = dictionary_VR(keyword)
        values: list[object] = [{"Alphabetic": text} for text in texts] if vr == "PN" else list(texts)
        source["attributes"][f"{tag_for_keyword(keyword):08X}"] = {"vr": vr, "Value": values}
    odd_uid = any(keyword.endswith("UID") for keyword in said)
    try:
        odd = {**kept, "source.json": json.dumps(source).encode(), "overlay.png": OVERLAY}
        made = build_dicom(odd) | build_overlay(odd) | build_pdf(odd, lambda _: b"%PDF", "Title")
    except NotFound:
        assert odd_uid
        return
    assert made.keys() == DICOM_FILES | {DICOM_OVERLAY, DICOM_PDF}
    with quiet():  # pydicom's own words about what it reads
        for content in made.values():
            dataset = parsed(content)
            assert len(list(dataset.iterall())) > 40  # every value is read
            assert re.fullmatch(r"\d{8}", dataset.ContentDate)
