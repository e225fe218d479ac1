"""How dbos is set up: names, database, serializer and log."""

from __future__ import annotations

import logging
from pathlib import Path

import structlog
from dbos import DBOSConfig, DBOSPortableJSONSerializer

from gateway.logs import trace

__all__ = [
    "APPLICATION",
    "DELIVER",
    "FETCHED_JOBS",
    "GRADE",
    "JOBS",
    "SERIALIZER",
    "WEBHOOKS",
    "configuration",
    "sqlite_url",
]

APPLICATION = "discgrade"
JOBS = "jobs"
FETCHED_JOBS = "fetched-jobs"
WEBHOOKS = "webhooks"
GRADE = "grade"
DELIVER = "deliver"
"""Names of the application, its queues and its workflows; they are in the database, so they stay."""

SERIALIZER = DBOSPortableJSONSerializer()
"""JSON: dbos's own choice is pickle, which runs what it finds in the database."""

_VERSION = "1"
"""Changes when the steps of a workflow change in a way that jobs begun before cannot follow."""


class _Terse(logging.Handler):
    """Says where dbos warned and of what kind the exception was; its messages may quote anything."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        details = {"error": trace(error)} if error is not None else {}
        structlog.get_logger("jobs").log(record.levelno, "dbos", at=f"{record.filename}:{record.lineno}", **details)


def _take_over_log() -> None:
    log = logging.getLogger("dbos")
    if not log.handlers:  # else dbos adds one of its own, which prints what it likes
        log.addHandler(_Terse())
        log.setLevel(logging.WARNING)
        log.propagate = False


_take_over_log()


def configuration(database_url: str, executor_id: str) -> DBOSConfig:
    """Settings of dbos in a worker; nothing is sent anywhere but to the database.

    Args:
        database_url: ``sqlite:///…`` or ``postgresql://…``.
        executor_id: Names this process, and no other at any time.
    """
    return {
        "name": APPLICATION,
        "system_database_url": database_url,
        "application_version": _VERSION,
        "executor_id": executor_id,
        "serializer": SERIALIZER,
        "enable_otlp": False,
        "log_level": "WARNING",
    }


def sqlite_url(data_dir: Path) -> str:
    """The embedded database in a data folder."""
    return f"sqlite:///{data_dir.absolute() / 'jobs.sqlite'}"
