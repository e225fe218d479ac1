"""Engines belong to one GPU and one TensorRT: they are built for both, found by both, and refused otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from export.build_engines import Host, build_engines
from export.build_engines import main as build
from export.engine_key import GPU, check_server, engine_key, find_gpu, plan_name, record_name, sha256, why_stale
from export.errors import NoGPU, ParityLost, VersionMismatch
from export.lifecycle import Lifecycle
from export.models import GRADING, NETWORKS, Network, Precision
from export.onnx_check import read_onnx
from export.repository import Repository
from export.runners import onnx_runner
from export.samples import Runner, Samples, held_out
from export.startup import main as start
from export.startup import problems, versions_in_service
from tests.export.test_tensorrt_builder import FakeTensorRT
from tests.support.repository import first_release

H200 = GPU("NVIDIA H200", "9.0", 143771, "570.86.15")
KEY = "NVIDIA-H200_sm90_trt10.13.3.9"


class _Builder(FakeTensorRT):
    """The fake, for both networks."""

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
        return self

    def parse(self, model: bytes) -> bool:
        self._network = next(one for one in NETWORKS.values() if one.inputs[0].name.encode() in model)
        return True

    @property
    def num_inputs(self) -> int:  # type: ignore[override]
        return len(self._network.inputs)

    def get_input(self, index: int) -> Any:
        return self._network.inputs[index]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return first_release(tmp_path / "repository")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    phantoms = held_out(tmp_path_factory.mktemp("no data"))
    return Samples(phantoms.source, phantoms.grids[:1])


def _host(repository: Repository, change: float = 0.0) -> Host:
    """A host whose engines compute what ONNX Runtime does, or grades that are off by ``change``."""

    @contextlib.contextmanager
    def run(plan: bytes, network: Network) -> Iterator[Runner]:
        assert plan == b"engine"
        exact = onnx_runner(read_onnx(repository.root / network.name / "1" / "model.onnx", network))
        yield (lambda feed: {n: a + change if network is GRADING else a for n, a in exact(feed).items()})

    return Host(H200, _Builder(), run)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory, samples: Samples) -> Repository:
    repository = first_release(tmp_path_factory.mktemp("built") / "repository")
    said: list[str] = []
    written = build_engines(repository, Precision.FP16, samples, _host(repository), said.append)
    assert [path.name for path in written] == [plan_name(KEY)] * 2
    assert said == [f"{name} version 1: TensorRT builds fp16 for {KEY}" for name in NETWORKS]
    return repository


@pytest.fixture
def built(built_once: Repository, tmp_path: Path) -> Repository:
    shutil.copytree(built_once.root, tmp_path / "built")
    return Repository(tmp_path / "built")


def _nvidia_smi(folder: Path, answer: str) -> str:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{answer}'\n")
    program.chmod(0o755)
    return str(program)


def test_the_gpu_is_the_drivers_first(tmp_path: Path) -> None:
    assert find_gpu(_nvidia_smi(tmp_path, "NVIDIA H200, 9.0, 143771, 570.86.15")) == H200
    assert engine_key(H200, "10.13.3.9") == KEY


@pytest.mark.parametrize("answer", ["No devices were found", "", "NVIDIA H200, 9.0, [N/A], 570"])
def test_no_gpu(tmp_path: Path, answer: str) -> None:
    with pytest.raises(NoGPU, match="names no GPU"):
        find_gpu(_nvidia_smi(tmp_path, answer))
    with pytest.raises(NoGPU, match="FileNotFoundError"):
        find_gpu(str(tmp_path / "absent"))


def test_engines_are_built_once_compared_and_kept_with_their_origin(built: Repository, samples: Samples) -> None:
    folder = built.root / "disc_grading" / "1"
    record = json.loads((folder / record_name(KEY)).read_text())
    assert record["network_sha256"] == sha256(folder / "model.onnx")
    assert (record["precision"], record["tensorrt"], record["gpu"]["name"]) == ("fp16", "10.13.3.9", "NVIDIA H200")
    assert record["parity"]["failures"] == []
    assert problems(built.root, KEY) == []
    said: list[str] = []
    assert build_engines(built, Precision.FP16, samples, _host(built), said.append) == []
    assert said == [f"release 1: engines for {KEY} are there"]


def test_a_newer_release_gets_its_engines_before_it_is_promoted(built: Repository, samples: Samples) -> None:
    files = {name: {"model.onnx": (built.root / name / "1" / "model.onnx").read_bytes()} for name in NETWORKS}
    built.add(2, files, {})
    said: list[str] = []
    written = build_engines(built, Precision.FP16, samples, _host(built), said.append)
    assert {path.parent.name for path in written} == {"2"}
    assert said[0] == f"release 1: engines for {KEY} are there"


def test_an_engine_that_computes_something_else_is_not_kept(repository: Repository, samples: Samples) -> None:
    with pytest.raises(ParityLost, match=r"TensorRT in fp16: a grade's probability differs by 0\.5"):
        build_engines(repository, Precision.FP16, samples, _host(repository, change=0.5))
    assert not list(repository.root.rglob("*.plan"))


def test_int8_needs_a_release_that_was_calibrated(repository: Repository, samples: Samples) -> None:
    with pytest.raises(VersionMismatch, match="was not exported in INT8"):
        build_engines(repository, Precision.INT8, samples, _host(repository))


def test_stale_engines_are_refused_with_a_reason(built: Repository) -> None:
    folder = built.root / "disc_grading" / "1"
    assert why_stale(folder, KEY) is None
    newer = engine_key(H200, "10.14.0.1")
    assert why_stale(folder, newer) == f"no engine for {newer}, only for {KEY}"
    assert problems(built.root, newer) == [f"{name}: no config names engines for {newer}" for name in sorted(NETWORKS)]
    (folder / plan_name(KEY)).write_bytes(b"torn")
    assert why_stale(folder, KEY) == "the engine file is damaged"
    (folder / "model.onnx").write_bytes(b"retrained")
    assert why_stale(folder, KEY) == "the engine was built from another model.onnx"
    (folder / record_name(KEY)).write_text("{}")
    assert why_stale(folder, KEY) == f"{record_name(KEY)} cannot be read"
    assert problems(built.root, KEY) == [f"disc_grading version 1: {record_name(KEY)} cannot be read"]


def _started(repository: Repository) -> list[str]:
    commands: list[list[str]] = []
    start([str(repository.root), "--", "tritonserver", "--grpc-port=8001"], lambda _, command: commands.append(command))
    (command,) = commands
    assert command[:2] == ["tritonserver", "--grpc-port=8001"]
    assert f"--model-repository={repository.root}" in command
    return command


@pytest.fixture
def gpu_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A host with an H200 and TensorRT, as far as the start-up sees."""
    _nvidia_smi(tmp_path, "NVIDIA H200, 9.0, 143771, 570.86.15")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tensorrt = types.ModuleType("tensorrt")
    tensorrt.__version__ = "10.13.3.9"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    return tensorrt


def test_tritonserver_starts_with_the_engines_of_its_host(built: Repository, gpu_host: types.ModuleType) -> None:
    assert f"--model-config-name={KEY}" in _started(built)


def test_onnx_serves_while_engines_are_stale(
    built: Repository, gpu_host: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu_host.__version__ = "10.14.0.1"  # type: ignore[attr-defined]  # the image was updated
    assert "--model-config-name=onnx" in _started(built)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert said[0]["reason"] == "disc_grading: no config names engines for NVIDIA-H200_sm90_trt10.14.0.1"
    assert said[-2]["build"].startswith("python3 -m export.build_engines")


def test_onnx_serves_where_there_is_no_gpu_or_no_tensorrt(
    built: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpu_host: types.ModuleType
) -> None:
    (tmp_path / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "--model-config-name=onnx" in _started(built)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "--model-config-name=onnx" in _started(built)


def test_a_canary_is_loaded_again_at_the_start(repository: Repository) -> None:
    assert not any(option.startswith("--load-model") for option in _started(repository))
    files = {name: {"model.onnx": b"network", "manifest.json": b"{}"} for name in NETWORKS}
    repository.add(2, files, {})
    Lifecycle(repository, []).canary(2, 0.1)
    assert "--load-model=lumbar_grading_canary" in _started(repository)


def test_the_servers_tensorrt_must_be_the_builders(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.SimpleNamespace(getInferLibVersion=lambda: 101303)
    monkeypatch.setattr("export.engine_key.ctypes.CDLL", lambda name: library)
    check_server("10.13.3.9", "libnvinfer.so.10")
    with pytest.raises(
        VersionMismatch, match=r"tensorrt is 11\.0\.0\.4, but the server's libnvinfer\.so\.10 is 10\.13\.3"
    ):
        check_server("11.0.0.4", "libnvinfer.so.10")


def test_the_job_says_what_is_missing(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"There is no NVIDIA GPU\.(.|\n)*What to do"):
        build([str(repository.root)])


def test_versions_are_read_as_they_are_written(repository: Repository, tmp_path: Path) -> None:
    for model in repository.root.glob("*/config.pbtxt"):
        assert versions_in_service(model) == [1]
    (tmp_path / "config.pbtxt").write_text("version_policy { latest { num_versions: 1 } }")
    with pytest.raises(ValueError, match="names no versions"):
        versions_in_service(tmp_path / "config.pbtxt")


@pytest.mark.parametrize("module", ["export.build_engines", "export.startup", "export.lifecycle"])
def test_what_runs_in_production_needs_no_torch(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import {module}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_the_job_is_what_the_repository_expects() -> None:
    manifest = (Path(__file__).parents[2] / "k8s" / "jobs" / "engines" / "engines-job.yaml").read_text()
    (command,) = (json.loads(line.split("command: ")[1]) for line in manifest.splitlines() if "command: " in line)
    assert command[:3] == ["python3", "-m", build.__module__]
    assert Precision(command[-1]) in Precision
