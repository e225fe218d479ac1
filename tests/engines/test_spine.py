"""Computing only the spine changes next to nothing of what is found and graded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import model_repository
from engines import Engine, load_engine
from export.repository import Repository
from preprocess.discs import DiscCrops, find_and_crop
from preprocess.grid import Grid, to_grid
from preprocess.region import segment_spine
from training.data import default_root, open_data
from training.phantom import PhantomSpec, make_phantom

SPECS = {
    "straight": PhantomSpec(slices=9, slice_spacing_mm=6.0),
    "scoliosis": PhantomSpec(seed=3, slices=9, slice_spacing_mm=6.0, scoliosis_mm=30.0),
    "turned, 3-D": PhantomSpec(seed=4, slices=9, slice_spacing_mm=6.0, tilt_deg=(0.0, 5.0, 12.0), style="space"),
}
PATIENTS = 3


def _network(name: str) -> Engine:
    return load_engine(Repository(model_repository.path()).network(name))


def _masked() -> Iterator[Grid]:
    """Series of neighbouring slices."""
    data = open_data(default_root())
    for series in data.masked[:PATIENTS]:
        yield to_grid(series.volume())


def _compare(grid: Grid) -> None:
    segmenter, grader = _network("disc_segmentation"), _network("disc_grading")
    pixels_computed = []

    def network(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pixels_computed.append(pixels.size)
        tissue = segmenter.run({"IMAGE": pixels[:, None]})
        return tissue["LABELS"], tissue["DISC_PROBABILITY"]

    def found(labels: NDArray[np.uint8], probability: NDArray[np.uint8]) -> DiscCrops:
        return find_and_crop(grid.pixels, grid.field_of_view, grid.slice_spacing_mm, labels, probability)

    spine = found(*segment_spine(grid.pixels, network))
    assert sum(pixels_computed) < 0.8 * grid.pixels.size
    whole = found(*network(grid.pixels))
    assert spine.levels == whole.levels
    assert spine.warnings == whole.warnings
    one, other = spine.instances > 0, whole.instances > 0
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.98
    grades = [grader.run({"CROPS": discs.crops, "FEATURES": discs.features}) for discs in (spine, whole)]
    for name in ("SEVERITY_PROBABILITIES", "PFIRRMANN_PROBABILITIES"):
        assert np.abs(grades[0][name] - grades[1][name]).max() < 0.15


@pytest.mark.parametrize("name", SPECS)
def test_phantoms(name: str) -> None:
    _compare(to_grid(make_phantom(SPECS[name]).volume))


@pytest.mark.skipif(not default_root().is_dir(), reason="the data set spider2d is not here: set DISCGRADE_DATA")
def test_real_slices() -> None:
    for grid in _masked():
        _compare(grid)
