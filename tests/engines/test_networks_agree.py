"""The committed networks give the same answers on every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import model_repository
from engines import ENGINES, CPUPrecision, load_engine
from export.repository import Repository
from preprocess.discs import find_and_crop
from preprocess.grid import to_grid
from training.metrics import dice
from training.phantom import PhantomSpec, make_phantom


def _answers(
    model: str, inputs: Mapping[str, NDArray[Any]], precision: CPUPrecision = CPUPrecision.FP32
) -> dict[str, dict[str, NDArray[Any]]]:
    path = Repository(model_repository.path()).network(model)
    return {name: load_engine(path, 1, (name,), precision).run(inputs) for name in ENGINES}


@pytest.fixture(scope="module")
def segmented() -> tuple[Any, dict[str, dict[str, NDArray[Any]]]]:
    grid = to_grid(make_phantom(PhantomSpec(slices=1)).volume)
    return grid, _answers("disc_segmentation", {"IMAGE": grid.pixels[:, None]})


def test_segmenters_agree(segmented: tuple[Any, dict[str, dict[str, NDArray[Any]]]]) -> None:
    one, other = segmented[1]["openvino"], segmented[1]["onnxruntime"]
    assert one["LABELS"].any()
    assert np.mean(one["LABELS"] != other["LABELS"]) < 1e-4
    difference = one["DISC_PROBABILITY"].astype(int) - other["DISC_PROBABILITY"].astype(int)
    assert np.abs(difference).max() <= 1


def test_segmenters_in_int8_outline_the_same_discs(
    segmented: tuple[Any, dict[str, dict[str, NDArray[Any]]]],
) -> None:
    """They are as far from each other as from FP32: each rounds at the same places, after sums of its own order."""
    grid, answers = segmented
    expected = answers["openvino"]["LABELS"] == 1
    for answer in _answers("disc_segmentation", {"IMAGE": grid.pixels[:, None]}, CPUPrecision.INT8).values():
        assert not np.array_equal(answer["DISC_PROBABILITY"], answers["openvino"]["DISC_PROBABILITY"])
        assert dice(answer["LABELS"] == 1, expected) > 0.99
        assert np.array_equal(answer["LABELS"] == 1, answer["DISC_PROBABILITY"] >= 128)


def test_graders_agree(segmented: tuple[Any, dict[str, dict[str, NDArray[Any]]]]) -> None:
    grid, answers = segmented
    masks = answers["openvino"]
    found = find_and_crop(
        grid.pixels, grid.field_of_view, grid.slice_spacing_mm, masks["LABELS"], masks["DISC_PROBABILITY"]
    )
    graded = _answers("disc_grading", {"CROPS": found.crops, "FEATURES": found.features})
    for name in ("SEVERITY_PROBABILITIES", "PFIRRMANN_PROBABILITIES"):
        np.testing.assert_allclose(graded["openvino"][name], graded["onnxruntime"][name], atol=1e-4)
        np.testing.assert_allclose(graded["openvino"][name].sum(axis=1), 1, atol=1e-4)
