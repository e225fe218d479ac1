import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from preprocess.jpeg_lossless import UnsupportedProcess, decode

# Seventeen codes of five bits: category k has code k.
TABLE = b"\xff\xc4" + struct.pack(">HB16B", 36, 0, 0, 0, 0, 0, 17, *[0] * 11) + bytes(range(17))


def encode(image: NDArray[Any], precision: int = 16, shift: int = 0, lines: int | None = None) -> bytes:
    """A plain encoder: ISO/IEC 10918-1 H.1.2 sample by sample, restarting every so many lines."""
    rows, columns = image.shape
    samples = image.astype(int) >> shift
    out = b"\xff\xd8" + TABLE
    out += b"\xff\xc3" + struct.pack(">HBHHB3B", 11, precision, rows, columns, 1, 1, 0x11, 0)
    if lines:
        out += b"\xff\xdd" + struct.pack(">HH", 4, lines * columns)
    out += b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, shift)
    step = lines or rows
    for index, first in enumerate(range(0, rows, step)):
        if index:
            out += bytes([0xFF, 0xD0 + (index - 1) % 8])
        bits = ""
        for row in range(first, min(first + step, rows)):
            for column in range(columns):
                if column:
                    predicted = samples[row, column - 1]
                else:
                    predicted = samples[row - 1, 0] if row > first else 1 << (precision - shift - 1)
                bits += _code(int(samples[row, column] - predicted) % 65536)
        bits += "1" * (-len(bits) % 8)
        data = int(bits, 2).to_bytes(len(bits) // 8, "big")
        out += data.replace(b"\xff", b"\xff\x00")
    return out + b"\xff\xd9"


def _code(difference: int) -> str:
    if difference == 32768:
        return f"{16:05b}"
    signed = difference - 65536 if difference > 32768 else difference
    category = abs(signed).bit_length()
    extra = signed if signed > 0 else signed + (1 << category) - 1
    return f"{category:05b}" + (f"{extra:0{category}b}" if category else "")


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    precision=st.sampled_from([2, 8, 12, 16]),
    lines=st.one_of(st.none(), st.integers(1, 9)),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_encoded_comes_back(shape: tuple[int, int], precision: int, lines: int | None, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 2**precision, shape)
    np.testing.assert_array_equal(decode(encode(image, precision, lines=lines), *shape), image)


def test_every_category_of_difference() -> None:
    steps = [0, 1, 3, 7, 20, 40, 100, 200, 400, 900, 1500, 3000, 6000, 12000, 20000, 32767, 32768]
    image = np.array([[0, step] for step in steps] + [[step, 0] for step in steps])
    np.testing.assert_array_equal(decode(encode(image), *image.shape), image)


@pytest.mark.parametrize("shift", [1, 4])
def test_a_point_transform_drops_low_bits(shift: int) -> None:
    image = np.random.default_rng(1).integers(0, 4096, (6, 7))
    np.testing.assert_array_equal(decode(encode(image, 12, shift), 6, 7), image >> shift << shift)


def test_fill_bytes_and_other_segments_are_skipped() -> None:
    image = np.arange(12).reshape(3, 4)
    data = encode(image)
    comment = b"\xff\xfe\x00\x06abcd"
    np.testing.assert_array_equal(decode(data[:2] + comment + b"\xff\xff" + data[2:] + b"\0", 3, 4), image)


GOOD = encode(np.random.default_rng(2).integers(0, 65536, (6, 7)))


@pytest.mark.parametrize("keep", range(0, len(GOOD) - 2, 7))
def test_a_truncated_stream_is_refused(keep: int) -> None:
    with pytest.raises((ValueError, struct.error)):
        decode(GOOD[:keep], 6, 7)


def change(at: int, value: bytes) -> bytes:
    return GOOD[:at] + value + GOOD[at + len(value) :]


SOF, SOS = GOOD.index(b"\xff\xc3"), GOOD.index(b"\xff\xda")


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (UnsupportedProcess, change(SOF, b"\xff\xc0")),
        (UnsupportedProcess, change(SOF, b"\xff\xc7")),
        (UnsupportedProcess, change(SOF + 9, b"\x03")),  # components of the frame
        (UnsupportedProcess, change(SOS + 4, b"\x02")),  # components of the scan
        (UnsupportedProcess, change(SOS + 7, b"\x04")),  # predictor
        (ValueError, change(SOF + 4, b"\x20")),  # precision
        (ValueError, change(SOF + 5, b"\xff\xff")),  # rows
        (ValueError, change(SOS + 6, b"\x10")),  # table
        (ValueError, change(SOS + 9, b"\x0f\x00")),  # point transform, then data that fits no longer
        (ValueError, change(2 + 5, b"\x00\x00\x00\x00\xff")),  # code counts
        (ValueError, change(2 + 21, b"\x11")),  # category 17
        (ValueError, change(SOS + 10, b"\xff\x00" * 20)),  # bits that begin no code
        (ValueError, GOOD[:SOF] + GOOD[SOS:]),
        (ValueError, GOOD[:SOS] + b"\xff\xd9\0\2"),
        (ValueError, GOOD[:SOS] + b"\xff\xdd\x00\x04\x00\x05" + GOOD[SOS:]),  # an interval that is no number of lines
        (ValueError, b"\xff\xd8" + b"abcd"),
        (ValueError, b"\x00\x00"),
    ],
)
def test_damage_is_refused(error: type[ValueError], data: bytes) -> None:
    with pytest.raises(error) as caught:
        decode(data, 6, 7)
    assert isinstance(caught.value, UnsupportedProcess) == (error is UnsupportedProcess)


def test_random_damage_never_does_worse() -> None:
    chance = random.Random(4)
    for _ in range(500):
        data = bytearray(GOOD)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            assert decode(bytes(data), 6, 7).shape == (6, 7)
        except (ValueError, struct.error):
            continue
