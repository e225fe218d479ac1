from pathlib import Path

import pytest


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """An existing empty folder for what a reader unpacks; uploads go beside it."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder
