"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data import default_root


@pytest.fixture(scope="session")
def spider2d() -> Path:
    """The folder of real slices; tests that need it are skipped where it is absent."""
    root = default_root()
    if not (root / "gradings.csv").is_file():
        pytest.skip("the spider2d data set is not here: set DISCGRADE_DATA to its folder")
    return root
