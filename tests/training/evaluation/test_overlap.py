from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.overlap import overlap, surface_distances


def square(top: int, left: int, side: int = 10) -> np.ndarray[tuple[int, int, int], np.dtype[np.bool_]]:
    mask = np.zeros((1, 60, 60), bool)
    mask[0, top : top + side, left : left + side] = True
    return mask


def test_a_mask_lies_on_itself() -> None:
    one = overlap(square(5, 5), square(5, 5), (0.5, 0.5))
    assert (one.dice, one.iou, one.hd95_mm, one.assd_mm) == (1.0, 1.0, 0.0, 0.0)


def test_a_shift_is_measured_in_millimetres() -> None:
    """Ten pixels of 0.5 mm down: both outlines are 5 mm apart at their ends."""
    one = overlap(square(5, 5), square(15, 5), (0.5, 2.0))
    assert (one.common, one.dice, one.iou) == (0, 0.0, 0.0)
    assert one.hd95_mm == pytest.approx(5.0)
    half = overlap(square(5, 5), square(10, 5), (0.5, 2.0))
    assert half.dice == pytest.approx(0.5)
    assert half.iou == pytest.approx(1 / 3)


def test_distances_are_those_of_every_pair_of_outline_pixels() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 20, 24)) < 0.4, rng.random((2, 20, 24)) < 0.4
    spacing = np.array([0.7, 1.3])
    forth, back = surface_distances(one, other, (0.7, 1.3))
    expected: tuple[list[float], list[float]] = ([], [])
    for index in range(2):
        points = []
        for mask in (one[index], other[index]):
            padded = np.pad(mask, 1)
            inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & mask
            points.append(np.argwhere(mask & ~inner) * spacing)
        apart = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
        expected[0].extend(apart.min(1))
        expected[1].extend(apart.min(0))
    np.testing.assert_allclose(np.sort(forth), np.sort(expected[0]))
    np.testing.assert_allclose(np.sort(back), np.sort(expected[1]))


def test_empty_masks() -> None:
    nothing = np.zeros((1, 60, 60), bool)
    both = overlap(nothing, nothing, (1, 1))
    assert (both.dice, both.iou, both.hd95_mm, both.assd_mm) == (1.0, 1.0, None, None)
    missed = overlap(nothing, square(5, 5), (1, 1))
    assert (missed.dice, missed.hd95_mm) == (0.0, None)
