"""Runs a DICOM node that kills itself with SIGKILL at a chosen moment.

``python -m tests.support.crashing_node CONFIG MOMENT``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from discgrade.client import AsyncClient
from gateway.dicom_node import c_store, node
from gateway.dicom_node.inbox import Inbox
from gateway.dicom_node.outbox import Outbox
from gateway.dicom_node.scp import StoragePort
from gateway.dicom_node.settings import load_settings
from gateway.dicom_node.spool import SpooledFile
from tests.support.deadly import deadly

__all__ = ["MOMENTS"]

MOMENTS: dict[str, tuple[Any, str, bool]] = {
    "while an object is received": (SpooledFile, "write", True),
    "before an object is kept": (Inbox, "_place", False),
    "between an object's file and its row": (Inbox, "_place", True),
    "before Success is answered": (StoragePort, "_note", False),
    "after the gateway took the study": (AsyncClient, "submit", True),
    "after the result was made": (AsyncClient, "result", True),
    "while the result is put away": (Outbox, "_write", True),
    "after the result was put away": (Outbox, "put", True),
    "before an object is sent": (c_store, "_send", False),
    "between an object's delivery and its row": (c_store, "_send", True),
}
"""The function at which the process dies, and whether after it."""


def _main(config: Path, moment: str) -> None:
    holder, name, after = MOMENTS[moment]
    static = isinstance(vars(holder).get(name), staticmethod)
    fatal = deadly(getattr(holder, name), after)
    setattr(holder, name, staticmethod(fatal) if static else fatal)
    node.run(load_settings(config))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
