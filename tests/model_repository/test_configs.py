"""The configs of all engines say the same, and the ensemble fits its members."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

import model_repository
from export.configs import texts
from export.service import read_service
from gateway.settings import Settings

NETWORKS = ["disc_segmentation", "disc_grading"]


def _config(path: str) -> Any:
    return text_format.Parse((model_repository.path() / path).read_text(), ModelConfig())


def _tensors(tensors: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {t.name: (t.data_type, tuple(t.dims)) for t in tensors if t.name != "ENGINE"}


def test_every_config_is_the_one_that_its_description_gives() -> None:
    root = model_repository.path()
    committed = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.pbtxt")}
    assert committed == texts(read_service(root))


def test_the_ensemble_names_its_members_versions() -> None:
    """So that the version that answered says which members did."""
    ensemble = _config("lumbar_grading/config.pbtxt")
    (release,) = ensemble.version_policy.specific.versions
    assert release >= 1
    for step in ensemble.ensemble_scheduling.step:
        assert step.model_version in _config(f"{step.model_name}/config.pbtxt").version_policy.specific.versions


@pytest.mark.parametrize("network", NETWORKS)
def test_engines_differ_in_nothing_a_caller_sees(network: str) -> None:
    tensorrt, *others = (
        _config(f"{network}/{file}") for file in ("config.pbtxt", "configs/onnx.pbtxt", "configs/cpu.pbtxt")
    )
    for other in others:
        assert other.name == tensorrt.name == network
        assert other.max_batch_size == tensorrt.max_batch_size
        assert _tensors(other.input) == _tensors(tensorrt.input)
        assert _tensors(other.output) == _tensors(tensorrt.output)
        assert other.version_policy == tensorrt.version_policy


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("file", ["config.pbtxt", "configs/onnx.pbtxt", "configs/cpu.pbtxt"])
def test_every_network_batches_and_is_warmed_up(network: str, file: str) -> None:
    config = _config(f"{network}/{file}")
    assert config.HasField("dynamic_batching")
    assert config.model_warmup
    for warmup in config.model_warmup:
        assert set(warmup.inputs) == set(_tensors(config.input))
    assert max(config.dynamic_batching.preferred_batch_size, default=1) <= config.max_batch_size


def test_the_longest_series_fits_one_batch() -> None:
    assert Settings.model_fields["max_slices"].default <= _config("disc_segmentation/config.pbtxt").max_batch_size


def test_the_ensemble_fits_its_members() -> None:
    """Every tensor a step takes was given or made before; names, types and shapes agree."""
    ensemble = _config("lumbar_grading/config.pbtxt")
    known = _tensors(ensemble.input)
    for step in ensemble.ensemble_scheduling.step:
        member = _config(f"{step.model_name}/config.pbtxt")
        batch = (-1,) if member.max_batch_size else ()
        inputs, outputs = _tensors(member.input), _tensors(member.output)
        assert set(step.input_map) == set(inputs)
        assert set(step.output_map) == set(outputs)
        for name, (data_type, dims) in inputs.items():
            assert known[step.input_map[name]] == (data_type, batch + dims)
        for name, (data_type, dims) in outputs.items():
            known[step.output_map[name]] = (data_type, batch + dims)
    for name, tensor in _tensors(ensemble.output).items():
        assert known[name] == tensor


def test_every_model_has_a_version() -> None:
    for config in model_repository.path().glob("*/config.pbtxt"):
        (version,) = _config(f"{config.parent.name}/config.pbtxt").version_policy.specific.versions
        assert (config.parent / str(version)).is_dir()
