"""Parity is measured, and engines that differ too much are refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import model_repository
from export import report
from export.errors import ParityLost
from export.models import GRADING, NETWORKS, SEGMENTATION, Precision
from export.onnx_check import read_onnx
from export.parity import LIMITS, Parity, measure, require_parity
from export.precision import Feed
from export.repository import Repository
from export.runners import onnx_runner
from export.samples import Runner, Samples, calibration, calibration_grids, held_out
from training.data import Spider2d, split_patients


@pytest.fixture(scope="module")
def networks() -> dict[str, Runner]:
    repository = Repository(model_repository.path())
    return {name: onnx_runner(read_onnx(repository.network(name), one)) for name, one in NETWORKS.items()}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    phantoms = held_out(tmp_path_factory.mktemp("no data"))
    assert "phantoms" in phantoms.source
    return Samples(phantoms.source, phantoms.grids[:2])


@pytest.fixture(scope="module")
def equal(networks: dict[str, Runner], samples: Samples) -> Parity:
    return measure("itself", Precision.FP32, networks, networks, samples)


def _changed(runner: Runner, name: str, change: Any) -> Runner:
    def run(feed: Feed) -> Mapping[str, NDArray[Any]]:
        answer = dict(runner(feed))
        answer[name] = change(answer[name])
        return answer

    return run


def test_a_network_equals_itself(equal: Parity) -> None:
    assert (equal.disc_dice, equal.slice_dice, equal.probability, equal.mask_probability) == (1, 1, 0, 0)
    assert equal.discs >= 8
    assert (equal.severity_flips, equal.pfirrmann_flips, equal.chain_flips, equal.count_changes) == (0, 0, 0, 0)
    assert set(equal.edge_pixels) >= {"blank", "saturated", "one disc", "most discs"}
    assert set(equal.edge_probability) == {"blank", "saturated", "one disc", "most discs"}
    require_parity(equal)


def test_masks_that_lose_rows_are_refused(networks: dict[str, Runner], samples: Samples) -> None:
    def shifted(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.roll(labels, 2, axis=1)

    worse = {**networks, SEGMENTATION.name: _changed(networks[SEGMENTATION.name], "LABELS", shifted)}
    parity = measure("shifted", Precision.INT8, networks, worse, samples)
    assert 0.3 < parity.disc_dice < 0.95
    with pytest.raises(ParityLost, match="shifted in int8: disc Dice"):
        require_parity(parity)


def test_other_grades_are_counted_and_refused(networks: dict[str, Runner], samples: Samples) -> None:
    def turned(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.roll(probabilities, 1, axis=1)

    worse = {**networks, GRADING.name: _changed(networks[GRADING.name], "SEVERITY_PROBABILITIES", turned)}
    parity = measure("turned", Precision.INT8, networks, worse, samples)
    assert parity.severity_flips == parity.chain_flips == parity.discs
    assert parity.pfirrmann_flips == 0
    assert any("severities differ" in failure for failure in parity.failures())
    assert any("probability differs by" in failure for failure in parity.failures())


def test_masks_without_discs_change_the_count(networks: dict[str, Runner], samples: Samples) -> None:
    blind = {**networks, SEGMENTATION.name: _changed(networks[SEGMENTATION.name], "LABELS", np.zeros_like)}
    parity = measure("blind", Precision.INT8, networks, blind, samples)
    assert parity.count_changes == parity.slices == 2
    with pytest.raises(ParityLost, match="nothing to compare"):
        measure("blind", Precision.INT8, blind, networks, samples)


def test_limits_are_tighter_the_higher_the_precision() -> None:
    rows = [dataclasses.astuple(LIMITS[precision]) for precision in (Precision.FP32, Precision.FP16, Precision.INT8)]
    for tighter, looser in itertools.pairwise(rows):
        assert tighter[:2] > looser[:2]
        assert all(one < other for one, other in zip(tighter[2:], looser[2:], strict=True))


def test_the_report_holds_every_figure(equal: Parity, tmp_path: Path) -> None:
    failing = dataclasses.replace(equal, engine="other", disc_dice=0.5)
    report.write(tmp_path, [equal, failing], {"torch": "2.13.0"})
    written = json.loads((tmp_path / "parity.json").read_text())
    assert written["facts"] == {"torch": "2.13.0"}
    assert [one["failures"] for one in written["parity"]] == [[], ["disc Dice 0.50000 < 0.9999"]]
    text = (tmp_path / "parity.md").read_text()
    assert "| verdict | within the limits | disc Dice 0.50000 < 0.9999 |" in text
    assert "edge image “most discs”" in text
    assert all(row.count("|") == 4 for row in text.splitlines() if row.startswith("|"))


def test_calibration_takes_training_patients_and_comparison_the_others(
    spider2d: Path, networks: dict[str, Runner]
) -> None:
    training, validation = split_patients(Spider2d(spider2d))
    assert len(held_out(spider2d).grids) == sum(one.patient in validation for one in Spider2d(spider2d).midsagittal)
    of_training = [one for one in Spider2d(spider2d).midsagittal if one.patient in training]
    grids = calibration_grids(spider2d, count=2)
    np.testing.assert_array_equal(grids[0].source.array, of_training[0].volume().array)
    discs = calibration(GRADING.name, grids, networks[SEGMENTATION.name])
    assert all(feed["CROPS"].shape[1:] == (3, 2, 56, 96) for feed in discs)
    assert [feed["IMAGE"].ndim for feed in calibration(SEGMENTATION.name, grids, networks[SEGMENTATION.name])] == [4, 4]
