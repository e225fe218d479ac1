"""What the base install promises: client, command line and batch without the packages of the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.discgrade.test_batch_find import dicom

HEAVY = (
    *("numpy", "scipy", "torch", "onnxruntime", "openvino", "nibabel", "PIL", "pyarrow"),
    *("fastapi", "uvicorn", "tritonclient", "pytriton", "dbos", "structlog", "prometheus_client", "pydantic_settings"),
)
ROOMS = ("gateway", "preprocess", "engines", "training", "export", "model_repository")

BLOCK = "import sys\nfor name in {blocked!r}: sys.modules[name] = None\nsys.path.insert(0, {root!r})\n"


def run(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that has none of some packages."""
    start = BLOCK.format(blocked=blocked, root=str(Path(__file__).parents[2]))
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "module", ["discgrade.client", "discgrade.job", "discgrade.cli", "discgrade._batch.run", "discgrade._batch.tables"]
)
def test_the_client_needs_no_server(module: str) -> None:
    done = run(f"import {module}", *HEAVY, *ROOMS, "grpc", "google.protobuf")
    assert done.returncode == 0, done.stderr


def test_the_grpc_client_needs_no_server() -> None:
    done = run("import discgrade.grpc_client", *HEAVY, *ROOMS)
    assert done.returncode == 0, done.stderr


def test_studies_are_found_without_numpy(tmp_path: Path) -> None:
    dicom(tmp_path / "a", "1.2.3")
    code = (
        "from pathlib import Path; from discgrade._batch.find import identify; print(identify(Path(sys.argv[1]), 'a'))"
    )
    done = run(code.replace("sys.argv[1]", repr(str(tmp_path))), *HEAVY, *ROOMS, "grpc")
    assert "uid:1.2.3" in done.stdout, done.stderr
