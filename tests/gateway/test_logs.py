from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import logs


def test_a_trace_names_places_and_not_the_text() -> None:
    with pytest.raises(ValueError, match="Mustermann") as caught:
        int("Mustermann")
    told = logs.trace(caught.value)
    assert told.startswith("ValueError at gateway/test_logs.py:")
    assert "Mustermann" not in told


def test_lines_are_json() -> None:
    code = "from gateway import logs; import structlog; logs.configure(); structlog.get_logger().info('hello', n=1)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    entry = json.loads(done.stderr)
    assert (entry["event"], entry["n"], entry["level"]) == ("hello", 1, "info")
    assert entry["timestamp"].endswith("Z")


def test_uvicorn_is_forwarded_without_the_text_of_exceptions() -> None:
    code = (
        "import logging; from gateway import logs; logs.configure()\n"
        "log = logging.getLogger('uvicorn.error')\n"
        "log.warning('Invalid HTTP request received.')\n"
        "try: raise RuntimeError('Mustermann')\n"
        "except RuntimeError as error: log.error('Exception in ASGI application\\n', exc_info=error)\n"
        "log.info('chatter')\n"
        "logging.getLogger('pydicom').error('Mustermann')\n"
        "import warnings; warnings.warn('Mustermann')\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert [entry["event"] for entry in entries] == [
        "Invalid HTTP request received.",
        "Exception in ASGI application",
    ]
    assert entries[1]["error"].startswith("RuntimeError at ")
    assert "Mustermann" not in done.stderr + done.stdout
