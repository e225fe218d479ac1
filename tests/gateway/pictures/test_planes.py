"""What is kept is read back the right way round, whatever axes it was sent with."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.nifti_out import grey_image, label_image
from gateway.pictures.planes import Planes, Window, read_planes
from preprocess.volume import Volume
from tests.support.random_series import a_result

SHAPE = (3, 7, 5)
SPACING = (4.0, 0.5, 0.8)
WHOLE = Window(0, 0, 7, 5, 5.0, 8.0)


def planes(pixels: NDArray[np.float32], labels: NDArray[np.uint8]) -> Planes:
    """By way of files, from slices to the left, rows downward, columns to the back."""
    affine = np.array([[4.0, 0, 0, -3], [0, 0, 0.8, -20], [0, -0.5, 0, 70], [0, 0, 0, 1]])
    image = grey_image(Volume(pixels, affine), slices_first=False)
    return read_planes(image, label_image(labels, affine, slices_first=False))


def counted() -> NDArray[np.float32]:
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@given(
    axes=st.sampled_from(list(permutations(range(3)))),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    slices_first=st.booleans(),
)
@settings(deadline=None)
def test_any_order_of_axes(axes: tuple[int, int, int], flips: tuple[bool, bool, bool], slices_first: bool) -> None:
    affine = np.array([[4.0, 0, 0, -3], [0, 0, 0.8, -20], [0, -0.5, 0, 70], [0, 0, 0, 1]])
    expected = counted()
    turned = expected
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
            affine[:3, axis] *= -1
    turned = np.ascontiguousarray(turned.transpose(axes))
    affine = affine[:, [*axes, 3]]
    labels = (turned % 7).astype(np.uint8)
    found = read_planes(
        grey_image(Volume(turned, affine), slices_first=slices_first),
        label_image(labels, affine, slices_first=slices_first),
    )
    np.testing.assert_array_equal(found.pixels, expected)
    np.testing.assert_array_equal(found.labels, expected % 7)
    assert found.spacing == pytest.approx(SPACING)
    np.testing.assert_allclose(found.affine @ [1, 2, 3, 1], [1, -17.6, 69, 1], atol=1e-4)


def test_a_disc_lies_on_the_slice_of_its_middle_that_shows_it() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 2:4, 1:3] = labels[2, 2:4, 1:3] = 1  # the slice between does not show it
    place = planes(counted(), labels).place_of(a_result(("L5/S1",)).discs[0])
    assert place.slice in (0, 2)
    assert (place.row, place.column) == (2.5, 1.5)


def test_a_disc_without_a_pixel_lies_where_its_centre_is() -> None:
    disc = a_result(("L5/S1",)).discs[0]
    for centre, expected in (((1.0, -17.6, 69.0), (1, 2.0, 3.0)), ((1e6, -1e6, 0.0), (2, 6.0, 0.0))):
        moved = disc.model_copy(update={"centroid_mm_lps": centre})
        place = planes(counted(), np.zeros(SHAPE, np.uint8)).place_of(moved)
        assert (place.slice, place.row, place.column) == pytest.approx(expected, abs=1e-4)
    assert planes(counted(), np.zeros(SHAPE, np.uint8)).outline(1, 0, WHOLE) == []


@pytest.mark.parametrize("value", [0.0, -300.0, 65535.0])
def test_a_blank_slice_is_no_accident(value: float) -> None:
    blank = np.full(SHAPE, value, np.float32)
    shown = planes(blank, np.zeros(SHAPE, np.uint8)).grey(0, WHOLE, (40, 35))
    assert shown.shape == (35, 40)
    assert np.ptp(shown) == 0


def test_one_hot_pixel_does_not_darken_the_rest() -> None:
    pixels = np.tile(np.linspace(0, 1000, 200, dtype=np.float32), (1, 200, 1))
    pixels[0, 0, 0] = 1e9
    hot = planes(pixels, np.zeros(pixels.shape, np.uint8)).grey(0, Window(0, 0, 200, 200, 1.0, 1.0), (200, 200))
    assert np.ptp(hot[100]) > 240


def test_what_lies_outside_of_the_image_is_black() -> None:
    around = Window(-2, -3, 9, 8, 1.0, 1.0)
    shown = planes(counted() + 500, np.zeros(SHAPE, np.uint8)).grey(1, around, (11, 11))
    assert shown[0].max() == shown[:, 0].max() == 0
    assert shown[4, 5] > 0


@pytest.mark.parametrize("size", [(1, 9), (2, 4), (6, 9)])
def test_an_outline_goes_around_even_the_thinnest_disc(size: tuple[int, int]) -> None:
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 5 : 5 + size[0], 6 : 6 + size[1]] = 4
    window = Window(0, 0, 20, 20, 2.0, 3.0)
    found = planes(np.zeros((1, 20, 20), np.float32), labels).outline(4, 0, window)
    (line,) = found
    np.testing.assert_array_equal(line[0], line[-1])
    x, y = line.T
    assert 6 * 3 <= x.min() <= x.max() <= (6 + size[1]) * 3
    assert 5 * 2 <= y.min() <= y.max() <= (5 + size[0]) * 2
    area = abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2
    assert 0.4 <= area / (size[0] * size[1] * 6) <= 1.05
