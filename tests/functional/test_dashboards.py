"""Every query of dashboards and rules has an answer from the suite under load; ``make dashboards-check`` at length."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.monitoring.live import ask_all, monitored

pytestmark = [
    pytest.mark.functional,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's package prometheus is not installed"),
    pytest.mark.skipif(shutil.which("storescu") is None, reason="Debian's package dcmtk is not installed"),
]


def test_every_query_has_an_answer(tmp_path: Path) -> None:
    with monitored(tmp_path) as prometheus:
        deadline = time.monotonic() + 120
        while (lost := [row for row in ask_all(prometheus) if not row.ok]) and time.monotonic() < deadline:
            time.sleep(1)  # rates need two scrapes, and the load a round
    assert lost == []
