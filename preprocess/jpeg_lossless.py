"""Decodes JPEG Lossless with first-order prediction (ISO/IEC 10918-1 Annex H, process 14, selection value 1).

Written here because no library in reach will do: pylibjpeg-libjpeg is GPL, and GDCM ends the whole process on some
damaged streams. Every step but one works on whole arrays: the code length is looked up at every bit of the stream at
once, and a short loop only hops from code to code.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["UnsupportedProcess", "decode"]

_SOI, _SOF3, _DHT, _EOI, _SOS, _DRI = 0xD8, 0xC3, 0xC4, 0xD9, 0xDA, 0xDD
_OTHER_FRAMES = {0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_MARKER = re.compile(rb"\xff+[^\x00\xff]", re.DOTALL)
_TAIL = np.zeros(16, np.uint8)  # codes are looked up some bytes ahead


class UnsupportedProcess(ValueError):
    """A JPEG, but not a lossless one of one component with selection value 1."""


@dataclass(frozen=True)
class _Frame:
    rows: int
    columns: int
    precision: int


@dataclass(frozen=True)
class _Table:
    """A Huffman table, looked up by the next 16 bits of the stream; 0 bits where they begin no code."""

    code_bits: NDArray[np.uint8]
    category: NDArray[np.uint8]

    @property
    def total_bits(self) -> NDArray[np.uint8]:
        """Bits of the code and of the difference behind it (category 16 has none; H.1.2.2)."""
        extra = np.where(self.category == 16, 0, self.category)
        total: NDArray[np.uint8] = np.where(self.code_bits > 0, self.code_bits + extra, 0).astype(np.uint8)
        return total


def decode(data: bytes, rows: int, columns: int) -> NDArray[np.uint16]:
    """Decode one frame.

    Args:
        data: The codestream, from SOI on; bytes after EOI are ignored.
        rows: Rows that the frame must have.
        columns: Columns that the frame must have.

    Returns:
        Samples, shape (rows, columns).

    Raises:
        UnsupportedProcess: Another JPEG process, selection value or number of components.
        ValueError: Damaged or truncated, or of another size.
    """
    if data[:2] != bytes((0xFF, _SOI)):
        raise ValueError("no start of image")
    at = 2
    frame: _Frame | None = None
    tables: dict[int, _Table] = {}
    interval = 0
    while True:
        marker, body, at = _segment(data, at)
        if marker == _SOF3:
            frame = _frame_header(body)
            if (frame.rows, frame.columns) != (rows, columns):
                raise ValueError("another size than expected")
        elif marker in _OTHER_FRAMES:
            raise UnsupportedProcess("not lossless with Huffman codes")
        elif marker == _DHT:
            tables.update(_huffman_tables(body))
        elif marker == _DRI:
            (interval,) = struct.unpack(">H", body)
        elif marker == _SOS:
            if frame is None:
                raise ValueError("a scan before its frame")
            table, shift = _scan_header(body, tables)
            return _scan(data[at:], frame, table, shift, interval)
        elif marker == _EOI:
            raise ValueError("no scan")


def _segment(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Marker, content and end of the marker segment at ``at`` (B.1.1.4)."""
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF:
        raise ValueError("no marker where one must be")
    length = int.from_bytes(head[2:], "big")
    body = data[at + 4 : at + 2 + length]
    if length < 2 or len(body) != length - 2:
        raise ValueError("a truncated segment")
    return head[1], body, at + 2 + length


def _frame_header(body: bytes) -> _Frame:
    precision, rows, columns, components = struct.unpack_from(">BHHB", body)
    if components != 1:
        raise UnsupportedProcess("several components")
    if not 2 <= precision <= 16:
        raise ValueError("a precision outside 2 to 16")
    return _Frame(rows, columns, precision)


def _huffman_tables(body: bytes) -> dict[int, _Table]:
    """Tables by destination (B.2.4.2, C.2)."""
    tables = {}
    while body:
        counts, values = body[1:17], body[17:]
        code_bits, category = np.zeros(65536, np.uint8), np.zeros(65536, np.uint8)
        start = used = 0
        for bits, count in enumerate(counts, start=1):
            for value in values[used : used + count]:
                end = start + (1 << (16 - bits))
                if end > 65536 or value > 16:
                    raise ValueError("an impossible Huffman table")
                code_bits[start:end], category[start:end] = bits, value
                start = end
            used += count
        if len(counts) < 16 or used > len(values):
            raise ValueError("a truncated Huffman table")
        tables[body[0]] = _Table(code_bits, category)
        body = values[used:]
    return tables


def _scan_header(body: bytes, tables: dict[int, _Table]) -> tuple[_Table, int]:
    """Huffman table and point transform of the scan (B.2.3)."""
    components, _, destinations, selection, _, approximation = struct.unpack_from(">6B", body)
    if components != 1 or selection != 1:
        raise UnsupportedProcess("several components, or another predictor than the sample to the left")
    table = tables.get(destinations >> 4)
    if table is None:
        raise ValueError("a Huffman table that was not given")
    return table, approximation & 0x0F


def _scan(data: bytes, frame: _Frame, table: _Table, shift: int, interval: int) -> NDArray[np.uint16]:
    if shift >= frame.precision:
        raise ValueError("a point transform that leaves nothing")
    if interval % frame.columns:
        raise ValueError("a restart interval that is no number of lines")  # H.1.1
    lines = interval // frame.columns or frame.rows
    samples = np.empty((frame.rows, frame.columns), np.uint16)
    segments = _entropy_segments(data)
    for first in range(0, frame.rows, lines):
        part = samples[first : first + lines]
        differences = _differences(next(segments, b""), part.size, table).reshape(part.shape)
        differences[0, 0] += 1 << (frame.precision - shift - 1)
        # The first sample of a line is predicted from the one above, all others from the left; modulo 65536 (H.1.2.1).
        differences[:, 0] = np.cumsum(differences[:, 0])
        part[:] = np.cumsum(differences, axis=1) & 0xFFFF
    samples <<= np.uint16(shift)
    return samples


def _entropy_segments(data: bytes) -> Iterator[bytes]:
    """Entropy-coded data between restart markers, stuffed zero bytes removed (B.1.1.5); ends before another marker."""
    first = 0
    for match in _MARKER.finditer(data):
        yield data[first : match.start()].replace(b"\xff\x00", b"\xff")
        first = match.end()
        if not 0xD0 <= match[0][-1] <= 0xD7:
            return


def _differences(data: bytes, count: int, table: _Table) -> NDArray[np.int64]:
    """Decode ``count`` differences (H.1.2.2)."""
    stream = np.concatenate([np.frombuffer(data, np.uint8), _TAIL])
    ahead = stream[:-2].astype(np.uint32) << 16 | stream[1:-1].astype(np.uint32) << 8 | stream[2:]
    windows = np.empty((len(ahead), 8), np.uint16)  # the 16 bits from each bit of the stream on
    for bit in range(8):
        windows[:, bit] = ahead >> (8 - bit) & 0xFFFF
    windows = windows.ravel()
    hops = table.total_bits[windows].tobytes()
    limit = 8 * len(data)
    places = []
    place = 0
    for _ in range(count):
        if place >= limit:
            raise ValueError("a truncated scan")
        places.append(place)
        place += hops[place]
    if place > limit:
        raise ValueError("a truncated scan")
    at = np.array(places)
    code = windows[at]
    code_bits, category = table.code_bits[code].astype(np.int64), table.category[code].astype(np.int64)
    if not code_bits.all():
        raise ValueError("bits that begin no code")
    # The bits behind the code: the 16 that begin there, cut to as many as the category says.
    extra = windows[at + code_bits].astype(np.int64) >> (16 - category)
    negative = extra < (1 << category >> 1)
    return np.where(category == 16, 32768, extra - np.where(negative, (1 << category) - 1, 0))
