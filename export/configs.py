"""Writes every ``config.pbtxt`` of the model repository: ``python -m export.configs REPOSITORY``.

:mod:`export.models` and the versions in service (:class:`export.service.Service`) give all variants of all models.
Nothing is edited by hand, so engines cannot drift apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

import model_repository
from export.engine_key import plan_name
from export.models import CANARY, MEMBERS, NETWORKS, PIPELINE, Network, Tensor
from export.service import PREVIOUS, SHARE, Canary, Service, read_service

__all__ = ["VARIANTS", "engine_keys", "main", "texts", "write_configs"]

VARIANTS = {
    "tensorrt": ("config.pbtxt", "TensorRT on an NVIDIA GPU, where no variant names its engine."),
    "onnx": (
        "configs/onnx.pbtxt",
        "Triton's ONNX Runtime backend: on the GPU where there is one, else on the CPU.",
    ),
    "cpu": (
        "configs/cpu.pbtxt",
        "A CPU engine (OpenVINO or ONNX Runtime) on the Python backend: the embedded server.",
    ),
}
"""Each variant of a network's config: its file, and what it is."""

_WRITTEN = "Written by export/configs.py from export/models.py: change those."
_QUEUE_DELAY_MICROSECONDS = 1000


def texts(service: Service, keys: Sequence[str] = ()) -> dict[str, str]:
    """Every config file of the repository: path in it to contents.

    Args:
        service: The versions in service.
        keys: From :func:`export.engine_key.engine_key`: each is a variant of its own, ``configs/KEY.pbtxt``, since it
            names the engine files of one GPU and one TensorRT.
    """
    files = {f"{PIPELINE}/config.pbtxt": _text(_stable(service), "The pipeline of a study, whatever the engines.")}
    if service.canary is not None:
        files[f"{CANARY}/config.pbtxt"] = _text(_canary(service.canary), "The pipeline of a share of the studies.")
    files["disc_crop/config.pbtxt"] = _text(
        _crop(service.loaded["disc_crop"]), "Finds, names and crops the discs: Python on the CPU whatever the engines."
    )
    for network in NETWORKS.values():
        for variant, (file, what) in VARIANTS.items():
            config = _network(network, variant, service.loaded[network.name])
            files[f"{network.name}/{file}"] = _text(config, what, network.rows)
        for key in keys:
            config = _network(network, "tensorrt", service.loaded[network.name])
            config.default_model_filename = plan_name(key)
            files[f"{network.name}/configs/{key}.pbtxt"] = _text(config, f"TensorRT on {key}.", network.rows)
    return files


def engine_keys(repository: Path) -> list[str]:
    """For which GPUs and TensorRT versions a repository has configs."""
    fixed = {Path(file).stem for file, _ in VARIANTS.values()}
    found = {path.stem for name in NETWORKS for path in (repository / name / "configs").glob("*.pbtxt")}
    return sorted(found - fixed)


def write_configs(repository: Path, service: Service, new_key: str | None = None) -> list[str]:
    """Bring a repository's config files up to date, each at once; a canary's folder comes and goes with it.

    Args:
        repository: Where.
        service: The versions in service.
        new_key: A GPU and TensorRT version that the repository gets engines for.

    Returns:
        The paths of those that changed.
    """
    changed = []
    keys = {*engine_keys(repository), *([new_key] if new_key else [])}
    for name, text in texts(service, sorted(keys)).items():
        path = repository / name
        if path.is_file() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".config-", delete=False) as partial:
            partial.write(text)
        os.chmod(partial.name, 0o644)
        os.replace(partial.name, path)
        changed.append(name)
    _keep_canary(repository / CANARY, service.canary)
    return changed


def _keep_canary(folder: Path, canary: Canary | None) -> None:
    """Triton wants a folder for the version of an ensemble, though there is nothing to put into it."""
    if canary is None:
        if folder.exists():
            shutil.rmtree(folder)
        return
    (folder / str(canary.release)).mkdir(mode=0o755, exist_ok=True)
    for other in folder.glob("[0-9]*"):
        if other.name != str(canary.release):
            other.rmdir()


def _text(config: Any, *comments: str) -> str:
    head = "".join(f"# {comment}\n" for comment in (*comments, _WRITTEN))
    return head + str(text_format.MessageToString(config, use_short_repeated_primitives=True))


def _network(network: Network, variant: str, versions: Sequence[int]) -> Any:
    config = model_config_pb2.ModelConfig(name=network.name, max_batch_size=network.max_batch)
    _add_tensors(config.input, network.inputs)
    _add_tensors(config.output, network.outputs)
    config.version_policy.specific.versions.extend(versions)
    config.dynamic_batching.max_queue_delay_microseconds = _QUEUE_DELAY_MICROSECONDS
    group = config.instance_group.add(count=1)
    kinds = model_config_pb2.ModelInstanceGroup
    if variant == "cpu":
        config.backend, group.kind = "python", kinds.KIND_CPU
        _add_tensors(config.output, (Tensor("ENGINE", "STRING", (1,)),))
        config.parameters["rows_per_thread"].string_value = str(network.rows_per_thread)
        if network.spine_only:
            config.parameters["spine_only"].string_value = "true"
        if network.ragged:
            config.input[0].allow_ragged_batch = True
    elif variant == "onnx":
        config.backend, group.kind = "onnxruntime", kinds.KIND_AUTO
        config.default_model_filename = "model.onnx"
    else:
        config.platform, group.kind = "tensorrt_plan", kinds.KIND_GPU
        config.default_model_filename = "model.plan"
        if len(network.profiles) > 1:
            group.profile.extend(str(place) for place in range(len(network.profiles)))
        config.dynamic_batching.preferred_batch_size.extend(network.preferred_batches)
        _add_graphs(config, network)
    for batch in network.warmup_batches[variant]:
        warmup = config.model_warmup.add(name=f"{batch} rows", batch_size=batch)
        for tensor in config.input:
            dims = [network.warmup_dims if dim < 0 else dim for dim in tensor.dims]
            warmup.inputs[tensor.name].CopyFrom(
                model_config_pb2.ModelWarmup.Input(data_type=tensor.data_type, dims=dims, random_data=True)
            )
    return config


def _add_graphs(config: Any, network: Network) -> None:
    """Capture a CUDA graph for each batch size; a batch in between is padded to the next one (graph_lower_bound)."""
    lower = 1
    for batch in network.graph_batches:
        config.optimization.cuda.graphs = True
        spec = config.optimization.cuda.graph_spec.add(batch_size=batch)
        spec.graph_lower_bound.batch_size = lower
        for tensor in network.inputs:
            spec.input[tensor.name].dim.extend(tensor.dims)
            spec.graph_lower_bound.input[tensor.name].dim.extend(tensor.dims)
        lower = batch + 1


def _add_tensors(target: Any, tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        data_type = model_config_pb2.DataType.Value(f"TYPE_{tensor.data_type}")
        target.add(name=tensor.name, data_type=data_type, dims=tensor.dims)


_STUDY = (  # what the whole pipeline takes, beside what its members hand over
    Tensor("IMAGE", "UINT8", (-1, 1, -1, -1)),
    Tensor("FIELD_OF_VIEW", "INT32", (4,)),
    Tensor("SLICE_SPACING", "FP32", (1,)),
)
_MASKS = tuple(Tensor(tensor.name, tensor.data_type, (-1, *tensor.dims)) for tensor in NETWORKS[MEMBERS[0]].outputs)
_FOUND = (
    Tensor("INSTANCES", "UINT8", (-1, -1, -1)),
    Tensor("BOXES", "INT32", (-1, 6)),
    Tensor("MIDDLE_SLICES", "INT32", (-1,)),
    Tensor("LEVELS", "STRING", (-1,)),
    Tensor("LEVEL_CONFIDENCE", "FP32", (-1,)),
    Tensor("WARNINGS", "STRING", (1,)),
)
_CROPS = tuple(Tensor(tensor.name, tensor.data_type, (-1, *tensor.dims)) for tensor in NETWORKS[MEMBERS[2]].inputs)
_GRADES = tuple(Tensor(tensor.name, tensor.data_type, (-1, *tensor.dims)) for tensor in NETWORKS[MEMBERS[2]].outputs)


def _crop(versions: Sequence[int]) -> Any:
    config = model_config_pb2.ModelConfig(name="disc_crop", backend="python")
    _add_tensors(config.input, (*_STUDY, *_MASKS))
    _add_tensors(config.output, (*_FOUND, *_CROPS))
    config.version_policy.specific.versions.extend(versions)
    config.instance_group.add(count=2, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    return config


def _stable(service: Service) -> Any:
    config = _ensemble(PIPELINE, service.release, service.members)
    if service.previous is not None:
        config.parameters[PREVIOUS].string_value = str(service.previous)
    return config


def _canary(canary: Canary) -> Any:
    """A model of its own: all versions of a model share one config, and so the steps of an ensemble."""
    config = _ensemble(CANARY, canary.release, canary.members)
    config.parameters[SHARE].string_value = f"{canary.share:g}"  # where gateways learn of it
    return config


def _ensemble(name: str, release: int, members: Mapping[str, int]) -> Any:
    """The steps name their versions: one version of the ensemble always answers with the same members."""
    config = model_config_pb2.ModelConfig(name=name, platform="ensemble")
    _add_tensors(config.input, _STUDY)
    _add_tensors(config.output, (*_MASKS, *_FOUND, *_GRADES))
    config.version_policy.specific.versions.append(release)
    takes = {MEMBERS[0]: _STUDY[:1], MEMBERS[1]: (*_STUDY, *_MASKS), MEMBERS[2]: _CROPS}
    gives = {MEMBERS[0]: _MASKS, MEMBERS[1]: (*_FOUND, *_CROPS), MEMBERS[2]: _GRADES}
    for member in MEMBERS:
        step = config.ensemble_scheduling.step.add(model_name=member, model_version=members[member])
        for tensor in takes[member]:
            step.input_map[tensor.name] = tensor.name
        for tensor in gives[member]:
            step.output_map[tensor.name] = tensor.name
    return config


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the configs of a repository anew, with the versions that are in service there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path, nargs="?", default=model_repository.path())
    repository = parser.parse_args(arguments).repository
    for name in write_configs(repository, read_service(repository)):
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
