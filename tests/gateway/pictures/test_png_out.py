from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from gateway.pictures.png_out import png

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))


@given(arrays(np.uint8, SHAPES))
def test_pillow_reads_what_was_written(pixels: NDArray[np.uint8]) -> None:
    picture = Image.open(io.BytesIO(png(Image.fromarray(pixels))))
    assert (picture.format, picture.mode, picture.info) == ("PNG", "RGB", {})
    np.testing.assert_array_equal(np.asarray(picture), pixels)
