"""A short slice of ``make fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.embedded import EmbeddedTriton
from tests.fuzz.attack import bombard, explore
from tests.fuzz.target import guarded, leftovers

pytestmark = pytest.mark.functional

UPLOADS = 150
EXAMPLES = 5


async def test_damaged_uploads_and_odd_requests_are_answered_and_leave_nothing(
    triton: EmbeddedTriton, tmp_path: Path
) -> None:
    with guarded(tmp_path, "--triton-url", triton.url) as (url, key):
        explored = explore(url, key, tmp_path, EXAMPLES)
        assert explored.returncode == 0, explored.stdout
        findings = await bombard(url, key, iter(range(UPLOADS)), seed=1, connections=4)
        assert findings.wrong == []
        assert findings.uploads == UPLOADS
        assert findings.outcomes["graded"] > 0
        assert len(findings.outcomes) > 10
        assert leftovers(tmp_path / "data", findings.outcomes["graded"]) == []
