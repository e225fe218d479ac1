"""Keys that discgrade makes for itself: files of 64 hexadecimal digits, readable by their owner only."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from discgrade.errors import ServiceError

__all__ = ["read_key"]

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700


def read_key(path: Path, what: str) -> bytes:
    """Read a key, or make it if there is none; several processes may do so at once.

    Args:
        path: The file.
        what: Whose key it is, for the message.

    Raises:
        ServiceError: It is damaged.
    """
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    if not path.exists():
        staged = path.with_name(f".{secrets.token_hex(8)}")
        staged.touch(_PRIVATE_FILE)
        staged.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was faster
            os.link(staged, path)
        staged.unlink()
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != hashlib.sha256().digest_size:
        raise ServiceError(f"The key of {what} is damaged.", "Bring back a copy of the key.")
    return key
