"""``discgrade demo`` as a process, in a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import psutil
import pytest

from discgrade.result import DISCLAIMER

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from discgrade.cli import app; app()", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A terminal of 100 × 50 characters, a temporary folder of its own, a proxy that is not there."""
    (tmp_path / "tmp").mkdir()
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "100", "LINES": "50"}
    own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp"), "HTTP_PROXY": "http://127.0.0.1:9"}
    return {**os.environ, **terminal, **own}


def left_running(tmp_path: Path) -> list[str]:
    """Processes whose command line names this test's temporary folder."""
    commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [command for command in commands if str(tmp_path / "tmp") in command]


def test_table_picture_and_next_steps(tmp_path: Path, environment: dict[str, str]) -> None:
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--out", "shown"], cwd=tmp_path, env=environment, stdout=inside, stderr=subprocess.DEVNULL
    ) as process:
        os.close(inside)
        shown = read_all(terminal)
    assert process.returncode == 0, shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    rows = [line.split() for line in plain.splitlines() if re.match(r"[LT]\d+/[LS]\d", line)]
    made_as = {row[0]: row[6] for row in rows}
    assert {"L1/L2": "II", "L2/L3": "II", "L3/L4": "III", "L4/L5": "V", "L5/S1": "IV"}.items() <= made_as.items()
    assert "A phantom, not a patient" in plain
    assert DISCLAIMER in plain
    assert sum("▀" * 20 in line for line in plain.splitlines()) >= 40
    assert "discgrade serve" in plain
    assert "shown/overlay.png" in plain
    assert (tmp_path / "shown" / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert nib.Nifti1Image.from_filename(tmp_path / "shown" / "segmentation.nii.gz").shape == (448, 448, 15)
    assert len(zipfile.ZipFile(tmp_path / "shown" / "phantom.zip").namelist()) == 15
    assert left_running(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def read_all(terminal: int) -> str:
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux's way of saying that the other side was closed
            chunk = b""
        if not chunk:
            os.close(terminal)
            return b"".join(chunks).decode()
        chunks.append(chunk)


def test_a_server_that_does_not_start_is_said_so(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["DISCGRADE_MAX_FILES"] = "many"
    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "The server did not start" in done.stderr
    assert "DISCGRADE_MAX_FILES" in done.stderr
    assert left_running(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
