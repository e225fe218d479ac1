"""Pseudonyms: keyed hashes, so that the same identity gives the same one, and nobody without the key gets back."""

from __future__ import annotations

import hashlib
import hmac
import uuid

from pydicom.uid import UID

__all__ = ["Keyed"]

_LONGEST_SHIFT_DAYS = 3650
_UUID_BYTES = 16
_NAME_BYTES = 10


class Keyed:
    """Makes pseudonyms with one key.

    Args:
        key: At least 32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def uid(self, original: str) -> UID:
        """The UID that stands for another: ``2.25.`` and a UUID of version 8 (PS3.5 B.2, RFC 9562)."""
        value = int.from_bytes(self._hash("uid", original)[:_UUID_BYTES], "big")
        value = value & ~(0xF << 76) | (8 << 76)
        value = value & ~(0x3 << 62) | (0x2 << 62)
        return UID(f"2.25.{uuid.UUID(int=value).int}")

    def name(self, what: str, original: str) -> str:
        """The word that stands for a name or an identifier: 20 hexadecimal digits.

        Args:
            what: The attribute; an identifier and a name of the same letters have nothing in common.
            original: As it is compared: in one case, without padding.
        """
        return self._hash(what, original)[:_NAME_BYTES].hex().upper()

    def shift_days(self, patient: str) -> int:
        """By how many days a patient's dates are moved: one to ten years back, the same for all of them.

        Args:
            patient: What tells patients apart.
        """
        return -365 - int.from_bytes(self._hash("shift", patient)[:8], "big") % (_LONGEST_SHIFT_DAYS - 365)

    def _hash(self, what: str, original: str) -> bytes:
        return hmac.new(self._key, f"{what}\0{original}".encode(), hashlib.sha256).digest()
