from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from discgrade.errors import InferenceUnavailable
from gateway.triton_install import TritonInstall


def test_numpy_2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(InferenceUnavailable, match=r"NumPy 2\.1\.0") as error:
        TritonInstall.find()
    assert "numpy<2" in error.value.advice


def test_a_python_without_its_shared_library_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_config_vars", lambda *_: [str(tmp_path), None])
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    with pytest.raises(InferenceUnavailable, match="no shared library libpython"):
        TritonInstall.find()


def test_the_stubs_interpreter_imports_what_this_one_does(tmp_path: Path) -> None:
    TritonInstall.find().assemble(tmp_path)
    (site,) = (tmp_path / "venv" / "lib").glob("python3.*/site-packages")
    lines = (site / "caller.pth").read_text().splitlines()
    assert set(lines[1:]) >= {os.path.abspath(entry) for entry in sys.path if entry}
    assert str(Path(__file__).parents[2]) in lines


def test_the_environment_holds_no_settings_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCGRADE_DATA_DIR", "/somewhere")
    monkeypatch.setenv("SOME_TOKEN", "hush")
    environment = TritonInstall.find().assemble(tmp_path)
    assert not {"DISCGRADE_DATA_DIR", "SOME_TOKEN", "PYTHONPATH", "LD_PRELOAD"} & environment.keys()
    loader = environment["LD_LIBRARY_PATH"].split(":")
    assert [path.name for path in Path(loader[0]).iterdir()] == [TritonInstall.find().libpython.name]
