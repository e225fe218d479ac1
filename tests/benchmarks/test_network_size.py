"""What the page about the segmenter's size says of figures that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.network_size import BASE, FORMS, gain, picture, report


@pytest.fixture
def found() -> dict[str, Any]:
    """The wide form is 0.02 better on each patient, and takes twice as long."""
    dice = {"1": 0.88, "2": 0.90, "3": 0.92}
    judged = {
        BASE.name: {"dice": dice, "counted": {"1": True, "4": False}},
        "wide": {"dice": {name: value + 0.02 for name, value in dice.items()}, "counted": {"1": True, "4": True}},
    }
    times = {"ONNX Runtime, FP32": [100.0, 120.0, 110.0], "as served": [40.0, 50.0, 60.0]}
    forms = {form.name: form for form in FORMS if form.name in judged}
    return {
        "machine": {"cores": "2", "engine served": "openvino-int8"},
        "steps": 400,
        "forms": {name: {"widths": form.widths, "grid_mm": form.grid_mm} for name, form in forms.items()},
        "seeds": {BASE.name: 1, "wide": 2},
        "parameters": {BASE.name: 920_000, "wide": 2_000_000},
        "judged": judged,
        "milliseconds": {
            BASE.name: times,
            "wide": {engine: [2 * one for one in values] for engine, values in times.items()},
        },
    }


def test_forms_are_compared_patient_by_patient(found: dict[str, Any]) -> None:
    better = gain(found["judged"], "wide")
    assert (better.value, better.low, better.high) == (0.02, 0.02, 0.02)


def test_the_page_names_every_form(found: dict[str, Any]) -> None:
    text = report(found)
    assert "| base | 1 mm | 16-32-64-96-128 | 1 | 0.92 M | 0.900 |  | 1 of 2 | 110 | 50 |" in text
    assert "| wide | 1 mm | 24-48-96-128-160 | 2 | 2.00 M | 0.920 | 0.020 (0.020–0.020) | 2 of 2 | 220 | 100 |" in text


def test_the_picture_has_a_point_for_each_form_and_engine(found: dict[str, Any]) -> None:
    (axes,) = picture(found).axes
    assert sorted(text.get_text() for text in axes.texts) == sorted([BASE.name, "wide"] * 2)
    assert [np.asarray(points.get_offsets()).tolist() for points in axes.collections] == [
        [[110.0, pytest.approx(0.9)], [220.0, pytest.approx(0.92)]],
        [[50.0, pytest.approx(0.9)], [100.0, pytest.approx(0.92)]],
    ]


def test_every_form_takes_slices_padded_to_32_pixels() -> None:
    assert all(32 % (form.folded * 2 ** (len(form.widths) - 1)) == 0 for form in FORMS)
    assert len({form.name for form in FORMS}) == len(FORMS)
