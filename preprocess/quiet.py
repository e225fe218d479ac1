"""Keeps the file libraries from quoting patient data in warnings and logs."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom.config

__all__ = ["quiet"]

# They log the values that they complain about, which may be names or birth dates. Importing pydicom sets the level of
# its own logger, so this comes after.
for _library in (pydicom.config.logger.name, "pylibjpeg", "openjpeg"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)

_lock = threading.Lock()
_depth = 0
_filters = warnings.catch_warnings()


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings while at least one thread is inside.

    ``warnings.catch_warnings`` alone is not safe when threads overlap: the last to leave would restore the filters
    that another had set. Counting the threads inside makes the first set and the last restore them.
    """
    global _depth, _filters
    with _lock:
        if _depth == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _filters.__exit__(None, None, None)
