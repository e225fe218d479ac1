from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess.instances import DISC
from preprocess.region import segment_spine, spine_columns

HEIGHT, WIDTH = 512, 576


def _study(slices: int, columns: list[int], discs: int = 5) -> NDArray[np.uint8]:
    """Slices with discs of 20 x 60 pixels (10 x 30 mm), whose left edge is at one column in each slice."""
    pixels = np.zeros((slices, HEIGHT, WIDTH), dtype=np.uint8)
    for plane, left in zip(pixels, columns, strict=True):
        for disc in range(discs):
            plane[60 + 80 * disc : 80 + 80 * disc, left : left + 60] = 255
    return pixels


class Bright:
    """A network that takes what is bright for disc, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, ...]] = []

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        assert pixels.flags.c_contiguous
        self.shown.append(pixels.shape)
        return np.where(pixels == 255, np.uint8(DISC), np.uint8(0)), pixels.copy()


def _check(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    network = Bright()
    labels, probability = segment_spine(pixels, network)
    np.testing.assert_array_equal(labels, (pixels == 255) * np.uint8(DISC))
    np.testing.assert_array_equal(probability, pixels)
    return network.shown


def test_two_slices_are_computed_whole_and_of_the_others_the_spine() -> None:
    # 250 - 64 and 310 + 64, widened to multiples of 32: columns 160 to 384
    assert _check(_study(15, [250] * 15)) == [(2, HEIGHT, WIDTH), (13, HEIGHT, 224)]


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_few_slices_are_computed_whole(slices: int) -> None:
    assert _check(_study(slices, [250] * slices)) == [(slices, HEIGHT, WIDTH)]


def test_the_region_bends_with_the_spine() -> None:
    """Discs wander by 20 mm from the first slice to the last: found in every slice."""
    shown = _check(_study(11, [230 + 4 * index for index in range(11)]))
    assert shown[1][2] < WIDTH


@pytest.mark.parametrize("far", [130, 340])
def test_discs_that_reach_the_edge_of_the_region_make_all_slices_whole(far: int) -> None:
    columns = [250] * 10
    columns[0] = far
    assert _check(_study(10, columns))[-1] == (8, HEIGHT, WIDTH)


def test_the_edge_of_the_image_is_no_edge_of_the_region() -> None:
    shown = _check(_study(8, [2] * 8))
    assert shown == [(2, HEIGHT, WIDTH), (6, HEIGHT, 128)]


@pytest.mark.parametrize("discs", [0, 1])
def test_slices_beside_the_spine_make_all_slices_whole(discs: int) -> None:
    assert _check(_study(8, [250] * 8, discs)) == [(2, HEIGHT, WIDTH), (6, HEIGHT, WIDTH)]


def test_chance_finds_do_not_widen_the_region() -> None:
    labels = (_study(2, [250] * 2) == 255) * np.uint8(DISC)
    labels[:, 30:35, 500:510] = DISC  # 5 x 10 pixels are 12.5 mm²
    assert spine_columns(labels) == slice(160, 384)


def test_a_narrow_image_has_no_region() -> None:
    labels = np.zeros((2, 512, 192), dtype=np.uint8)
    labels[:, 60:460, 60:120] = DISC
    assert spine_columns(labels) is None
