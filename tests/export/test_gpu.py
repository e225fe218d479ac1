"""Engines built and run on this host's GPU: ``make test-gpu``. Skipped, with the reason, where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import training
from export.build_engines import Host, build_engines
from export.engine_key import find_gpu
from export.errors import MissingTool, NoGPU
from export.exporter import Engine, add_release, export_run
from export.models import Precision
from export.parity import require_parity
from export.samples import held_out
from export.startup import problems
from export.tensorrt_api import load_api
from tests.support.repository import first_release
from training.data import default_root

pytestmark = pytest.mark.gpu

WEIGHTS = Path(training.__path__[0]) / "weights"


@pytest.fixture(scope="module")
def host() -> Host:
    try:
        return Host(find_gpu(), load_api(rtx=False))
    except (NoGPU, MissingTool) as error:
        pytest.skip(error.detail)


@pytest.mark.parametrize("precision", list(Precision))
def test_tensorrt_computes_what_the_networks_compute(host: Host, precision: Precision, tmp_path: Path) -> None:
    exported = export_run(WEIGHTS, Engine.TENSORRT, precision, default_root(), timing_caches=tmp_path)
    require_parity(exported.parity)
    repository = first_release(tmp_path / "repository")
    release = add_release(exported, repository)
    assert (repository.root / "disc_grading" / str(release.number) / f"model.{host.key}.plan").is_file()


def test_the_job_builds_the_engines_of_the_release_in_service(host: Host, tmp_path: Path) -> None:
    repository = first_release(tmp_path / "repository")
    build_engines(repository, Precision.FP16, held_out(default_root()), host)
    assert problems(repository.root, host.key) == []


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_torch_tensorrt_computes_what_the_networks_compute(host: Host, precision: Precision) -> None:
    try:
        exported = export_run(WEIGHTS, Engine.TORCH_TENSORRT, precision, default_root())
    except MissingTool as error:
        pytest.skip(error.detail)
    require_parity(exported.parity)
