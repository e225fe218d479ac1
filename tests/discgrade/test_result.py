from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from discgrade.result import DISCLAIMER, SCHEMA_VERSION, GradingResult, Pfirrmann


def disc(**changes: Any) -> dict[str, Any]:
    return {
        "level": "L4/L5",
        "level_confidence": 0.9,
        "severity": "mild",
        "severity_probabilities": {"mild": 0.8, "moderate": 0.1, "severe": 0.1},
        "pfirrmann": "II",
        "pfirrmann_probabilities": {"I": 0.1, "II": 0.8, "III": 0.1, "IV": 0.0, "V": 0.0},
        "label": 2,
        "centroid_mm_lps": [1.0, 2.0, 3.0],
        "area_mm2": 300.0,
        "volume_mm3": None,
        "height_mm": 9.0,
        **changes,
    }


def result(**changes: Any) -> dict[str, Any]:
    return {
        "result_id": "0" * 32,
        "input": {
            "format": "nifti", "chosen_series": None, "chosen_because": "The only one.", "slices": 1,
            "spacing_mm": [4.0, 0.5, 0.5],
        },
        "discs": [disc()],
        "models": [{"name": "lumbar_grading", "version": "1", "engine": "ensemble"}],
        "timings_ms": {"total": 10.0},
        "warnings": [],
        **changes,
    }  # fmt: skip


def test_json_comes_back_as_it_was() -> None:
    first = GradingResult.model_validate(result())
    assert GradingResult.model_validate_json(first.model_dump_json()) == first
    assert first.schema_version == SCHEMA_VERSION
    assert first.disclaimer == DISCLAIMER


def test_the_schema_says_research_only() -> None:
    assert DISCLAIMER in json.dumps(GradingResult.model_json_schema())


@pytest.mark.parametrize(
    "wrong",
    [
        {"level_confidence": 1.1},
        {"severity": "bad"},
        {"pfirrmann": "VI"},
        {"label": 0},
        {"label": 256},
        {"area_mm2": -1.0},
        {"severity_probabilities": {"mild": 2.0}},
        {"surprise": 1},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GradingResult.model_validate(result(discs=[disc(**wrong)]))


def test_every_grade_belongs_to_one_class() -> None:
    assert [grade.severity.value for grade in Pfirrmann] == ["mild", "mild", "moderate", "severe", "severe"]


def test_the_base_package_needs_no_array_library() -> None:
    """A client's virtual environment holds neither NumPy nor the server."""
    code = (
        "import sys, discgrade, discgrade.client, discgrade.cli\n"
        "rooms = ('numpy', 'torch', 'gateway', 'preprocess', 'fastapi', 'pydicom')\n"
        "sys.exit(', '.join(room for room in rooms if room in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
