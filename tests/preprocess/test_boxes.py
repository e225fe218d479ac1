"""The fast searches against the plain ones of NumPy and SciPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from preprocess.boxes import label_boxes, pixels_of

SPARSE = st.sampled_from([0, 0, 0, 0, 0, 1, 3, 255])


@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=SPARSE))
def test_every_label_has_its_box(labels: NDArray[np.uint8]) -> None:
    found = enumerate(ndimage.find_objects(labels), start=1)
    assert list(label_boxes(labels).items()) == [(label, box) for label, box in found if box is not None]


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=8)))
def test_pixels_come_in_the_order_of_nonzero(mask: NDArray[np.bool_]) -> None:
    for ours, plain in zip(pixels_of(mask), np.nonzero(mask), strict=True):
        np.testing.assert_array_equal(ours, plain)
        assert ours.dtype == plain.dtype
