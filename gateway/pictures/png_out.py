"""Writes a picture as PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

__all__ = ["png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB_8_BIT = (8, 2, 0, 0, 0)
_UP = 2


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file (ISO/IEC 15948) of an RGB picture, without any metadata.

    Pillow's own writer tries five filters for each row and holds Python's lock meanwhile: it takes twice as long, in
    which no other request moves.
    """
    pixels = np.asarray(picture)
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP  # each byte less the one above it: 0 wherever the background goes on
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">II5B", width, height, *_RGB_8_BIT)
    data = zlib.compress(filtered.data, level=1)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
