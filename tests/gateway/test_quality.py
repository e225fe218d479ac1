"""Signals of quality: what a usual study says, and what an odd one does."""

from __future__ import annotations

import math

import httpx
import numpy as np
import pytest

from gateway.telemetry.ranges import TRAINING_RANGES
from gateway.telemetry.signals import measure_signals
from preprocess.grid import to_grid
from tests.gateway.conftest import OpenClient, Parts
from tests.gateway.test_operations import samples
from tests.support.truth import TruthGrader, truth_tensors
from training.phantom import Phantom


def test_a_phantom_is_like_what_was_trained_on(phantom: Phantom) -> None:
    grid = to_grid(phantom.volume)
    signals = measure_signals(grid, truth_tensors(phantom, grid))
    for name in ("brightness", "contrast", "saturation"):
        assert TRAINING_RANGES[name].holds(getattr(signals, name))
    assert 0.5 < signals.mask_certainty <= 1


def test_certainty_is_the_share_of_sure_voxels(phantom: Phantom) -> None:
    grid = to_grid(phantom.volume)
    tensors = truth_tensors(phantom, grid)
    inside = tensors.instances > 0
    expected = (tensors.disc_probability[inside] >= 230).mean()
    assert measure_signals(grid, tensors).mask_certainty == pytest.approx(expected)


async def test_each_disc_is_counted(client: httpx.AsyncClient, grader: TruthGrader, study: Parts) -> None:
    await client.post("/v1/grade", files=study)
    after = await samples(client)
    discs = {name[1]: value for name, value in after.items() if name[0] == "discgrade_discs_total"}
    assert sum(discs.values()) == len(grader.phantom.levels)
    assert discs["L5/S1/1/severe"] == 1
    assert after["discgrade_disc_pfirrmann_total", "IV"] == 1
    assert after["discgrade_grade_confidence_count", "severity/1"] == len(grader.phantom.levels)
    assert after["discgrade_grade_confidence_sum", "severity/1"] == pytest.approx(0.8 * len(grader.phantom.levels))
    entropy = -(0.8 * math.log(0.8) + 2 * 0.1 * math.log(0.1)) / math.log(3)
    assert after["discgrade_grade_entropy_sum", "severity"] == pytest.approx(
        len(grader.phantom.levels) * entropy, rel=1e-3
    )
    assert after["discgrade_level_confidence_sum", ""] == pytest.approx(0.9 * len(grader.phantom.levels), rel=1e-3)
    assert after["discgrade_studies_total", "dicom/1"] == 1
    assert after["discgrade_model_last_used_timestamp_seconds", "ensemble/lumbar_grading/1"] > 1.7e9
    odd = [name for name, value in after.items() if name[0].startswith("discgrade_implausible") and value]
    assert odd == []


async def test_an_odd_input_is_noticed(client: httpx.AsyncClient, grader: TruthGrader, study: Parts) -> None:
    unsure = np.zeros(len(grader.phantom.levels), np.float32)
    grader.instead = {
        "levels": ("unknown",) * len(unsure),
        "level_confidence": unsure,
        "warnings": ("field_of_view_cut",),
    }
    await client.post("/v1/grade", files=study)
    after = await samples(client)
    assert after["discgrade_result_warnings_total", "field_of_view_cut"] == 1
    assert sum(
        value for name, value in after.items() if name[0] == "discgrade_discs_total" and name[1].startswith("unknown/")
    ) == len(unsure)


async def test_out_of_range_is_counted_by_property(
    open_client: OpenClient, study: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRAINING_RANGES, "pixel_spacing", TRAINING_RANGES["pixel_spacing"]._replace(high=0.9))
    async with open_client() as client:
        await client.post("/v1/grade", files=study)
        after = await samples(client)
    odd = {name[1]: value for name, value in after.items() if name[0] == "discgrade_input_out_of_range_total"}
    assert odd == {**dict.fromkeys(TRAINING_RANGES, 0), "pixel_spacing": 1}
