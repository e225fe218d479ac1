from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from preprocess.intensity import REFERENCE_LEVEL, intensity_scale, normalise


def tissue(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(3.0, 120.0, (40, 40)).astype(np.float32)


@given(seed=st.integers(0, 50), padding=st.integers(1, 200))
def test_padding_with_air_changes_nothing(seed: int, padding: int) -> None:
    image = tissue(seed)
    padded = np.pad(image, padding)
    np.testing.assert_array_equal(normalise(padded)[padding:-padding, padding:-padding], normalise(image))


@given(seed=st.integers(0, 50), share=st.floats(0.1, 4.0))
def test_noise_in_the_air_hardly_moves_the_scale(seed: int, share: float) -> None:
    image = tissue(seed).ravel()
    air = np.abs(np.random.default_rng(seed).normal(0, 6.0, int(share * image.size))).astype(np.float32)
    _, plain = intensity_scale(image)
    _, noisy = intensity_scale(np.concatenate([image, air]))
    assert noisy == pytest.approx(plain, rel=0.05)


@given(seed=st.integers(0, 50), gain=st.floats(0.001, 1000.0))
def test_receiver_gain_changes_nothing(seed: int, gain: float) -> None:
    image = tissue(seed)
    difference = normalise(image * np.float32(gain)).astype(int) - normalise(image).astype(int)
    assert np.abs(difference).max() <= 1


def test_the_signal_weighted_median_lands_on_the_reference() -> None:
    image = tissue(1)
    _, reference = intensity_scale(image)
    order = np.sort(image.ravel())
    exact = order[np.searchsorted(np.cumsum(order), order.sum() / 2)]
    assert reference == pytest.approx(float(exact), rel=0.01)
    level = normalise(np.array([reference], dtype=np.float32), (0.0, reference))
    assert level[0] == round(REFERENCE_LEVEL)


def test_negative_values_are_shifted_not_cut() -> None:
    image = tissue(2) - 300.0
    assert (normalise(image) > 0).mean() > 0.95


def test_a_blank_image_is_black() -> None:
    assert not normalise(np.zeros((4, 4), dtype=np.float32)).any()
    assert not normalise(np.full((4, 4), -7.0, dtype=np.float32)).any()
