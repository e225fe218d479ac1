"""Figures are the same wherever they are read."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from discgrade._figures import whole


def test_halves_are_rounded_as_in_a_browser() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    values = [0.0, 0.5, 1.5, 2.5, 330.5, 100 * 0.845, 100 * 0.4549, 100 * 0.285, 1004.5, 3057.499]
    script = f"console.log(JSON.stringify({json.dumps(values)}.map(Math.round)))"
    said = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert [whole(value) for value in values] == json.loads(said)
