"""The server under attack: small limits, and a door that is shut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from discgrade._process import serving
from gateway.door import Scope
from gateway.door.keys import KeyFile
from tests.support.bad_inputs import MAX_FILES, MAX_SLICES, MAX_UNPACKED_BYTES, MAX_UPLOAD_BYTES

__all__ = ["guarded", "leftovers"]


@contextmanager
def guarded(folder: Path, *options: str) -> Iterator[tuple[str, str]]:
    """Start a server; yields its base URL and an API key with every scope.

    Args:
        folder: Empty; holds the server's log and data.
        options: Further options of ``discgrade serve``.
    """
    settings = {
        "DISCGRADE_MAX_FILES": MAX_FILES,
        "DISCGRADE_MAX_SLICES": MAX_SLICES,
        "DISCGRADE_MAX_UPLOAD_BYTES": MAX_UPLOAD_BYTES,
        "DISCGRADE_MAX_UNPACKED_BYTES": MAX_UNPACKED_BYTES,
    }
    key = KeyFile(folder / "data" / "keys.json").create("fuzz", frozenset(Scope), "1000000/minute")
    with (
        patch.dict(os.environ, {name: str(value) for name, value in settings.items()}),
        serving(folder, "--door", "on", *options) as server,
        server.client(),
    ):
        yield server.url(), key


def leftovers(data: Path, graded: int) -> list[str]:
    """What is on disk that should not be: anything of an upload, or more results than there were studies graded."""
    folders = (data / "spool", data / "uploads")
    wrong = [f"{path.relative_to(data)}" for folder in folders for path in folder.rglob("*") if path.is_file()]
    results = len(list((data / "results").iterdir()))
    if results > graded:
        wrong.append(f"{results} results of {graded} studies")
    return wrong
