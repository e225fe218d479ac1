"""Structured logs that hold durations and outcomes, and nothing of the upload.

Every line written while a request is served bears its ``request_id``, and its ``trace_id`` where it has one.
File names, DICOM values and exception texts may carry patient data, and libraries like to log them. So no
library's log is passed on but uvicorn's, and an unexpected exception is logged as its type and the lines of code it
passed.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings

import structlog
from structlog.typing import EventDict

from gateway import tracing

__all__ = ["configure", "trace"]


def configure(level: int = logging.INFO) -> None:
    """Log to stderr: JSON lines, or colours where stderr is a terminal. Other libraries' logs and warnings are dropped.

    Args:
        level: The least level logged, of :mod:`logging`.
    """
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_trace,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints their warnings itself
    logging.getLogger("nibabel").setLevel(logging.CRITICAL + 1)  # brings a handler of its own
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.setLevel(logging.WARNING)
    uvicorn.addHandler(_Forward())
    warnings.simplefilter("ignore")  # pydicom's warnings quote attribute values


def _add_trace(_: object, __: str, entry: EventDict) -> EventDict:
    if (trace_id := tracing.trace_id()) is not None:
        entry.setdefault("trace_id", trace_id)
    return entry


class _Forward(logging.Handler):
    """Hands uvicorn's own messages to structlog; of an exception only what :func:`trace` says."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        details = {"error": trace(error)} if error is not None else {}
        structlog.get_logger().log(record.levelno, record.msg.splitlines()[0], **details)


def trace(error: BaseException) -> str:
    """Describe an exception without its text: ``ValueError at preprocess/grid.py:88 < gateway/dataplane.py:60``."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    places = " < ".join(f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"
