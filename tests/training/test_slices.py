"""What of a slice a training window is drawn from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.segmentation.slices import Slice, part_of


def _slice(height: int, width: int, tissue: slice) -> Slice:
    """A slice whose every pixel says where it is, with tissue in some columns."""
    image = (np.arange(height)[:, None] * 7 + np.arange(width) * 3).astype(np.uint8)
    labels = np.zeros((height, width), dtype=np.int8)
    labels[:, tissue] = 2
    return Slice(image, labels, weight=0.5)


@given(height=st.integers(20, 300), width=st.integers(20, 300), seed=st.integers(0, 1000))
def test_a_part_is_a_piece_of_image_and_labels_alike(height: int, width: int, seed: int) -> None:
    item = _slice(height, width, slice(5, 9))
    part = part_of(item, (64, 32), np.random.default_rng(seed))
    assert part.image.shape == part.labels.shape == (min(height, 96), min(width, 48))
    assert part.weight == item.weight
    places = [
        (row, column)
        for row in range(height - part.image.shape[0] + 1)
        for column in range(width - part.image.shape[1] + 1)
        if part.image[0, 0] == item.image[row, column]
    ]
    (height, width) = part.image.shape
    assert any(
        np.array_equal(part.image, item.image[row : row + height, column : column + width])
        and np.array_equal(part.labels, item.labels[row : row + height, column : column + width])
        for row, column in places
    )


def test_most_parts_show_the_spine_and_some_do_not() -> None:
    item = _slice(200, 1000, slice(100, 110))
    chance = np.random.default_rng(0)
    showing = [bool((part_of(item, (64, 64), chance).labels > 0).any()) for _ in range(400)]
    assert 0.75 < np.mean(showing) < 0.92


def test_a_slice_without_tissue_has_parts_too() -> None:
    item = Slice(np.zeros((100, 120), np.uint8), np.full((100, 120), -1, np.int8))
    assert part_of(item, (64, 64), np.random.default_rng(0)).image.shape == (96, 96)
