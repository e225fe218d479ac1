"""``discgrade export``: a training run → networks for an engine → parity → a release in a model repository."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import onnx

from engines import int8_beside
from export.accuracy import Accuracy, answers_of, compare, require_accuracy
from export.checkpoints import Trained, load_trained
from export.configs import write_configs
from export.engine_key import GPU, engine_key, find_gpu, plan_name, record_name
from export.errors import BadNetwork
from export.models import NETWORKS, SEGMENTATION, Network, Precision
from export.onnx_file import OPSET, export_onnx
from export.parity import Parity, measure, require_parity
from export.precision import Feed, for_cpu, in_precision
from export.records import as_bytes, now, plan_record, versions
from export.repository import MANIFEST, MODEL_PY, QUANTISED, Release, Repository
from export.runners import engine_runner, onnx_runner, plan_runner, torch_runner
from export.samples import Runner, calibration, calibration_grids, held_out, is_at_hand
from export.tensorrt_api import TensorRT, load_api
from export.tensorrt_builder import Plan, build_with_cache

__all__ = ["Engine", "Exported", "about", "add_release", "export_run", "graphs_in", "release_files", "require_limits"]

Say = Callable[[str], None]


class Engine(StrEnum):
    """What a network is exported to."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    TORCH_TENSORRT = "torch-tensorrt"


_COMPUTED = {Engine.ONNX: "CPU engine", Engine.TENSORRT_RTX: "ONNX Runtime, graph built by TensorRT-RTX"}
"""What computes for the comparison where it is not the engine itself: TensorRT-RTX builds without a GPU, but needs one
to run."""
_PRECISIONS = {
    Engine.ONNX: (Precision.FP32, Precision.INT8),
    Engine.TENSORRT: tuple(Precision),
    Engine.TENSORRT_RTX: tuple(Precision),
    Engine.TORCH_TENSORRT: (Precision.FP32, Precision.FP16),
}


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        trained: What it started from.
        engine: For which engine.
        precision: In which precision.
        fp32: The networks' ONNX files in FP32, by name.
        quantised: Their quantised ONNX files; empty but in INT8, for CPUs of the segmenter alone.
        plans: Their engines; empty for ONNX.
        key: Of the GPU and TensorRT that the engines are for; None where any will do.
        gpu: Where they were built.
        parity: Against the trained networks.
        accuracy: Of a lower precision on CPUs, beside FP32, against masks and gradings; None where it does not apply
            or the data set is not at hand.
    """

    trained: Trained
    engine: Engine
    precision: Precision
    fp32: Mapping[str, bytes]
    quantised: Mapping[str, bytes]
    plans: Mapping[str, Plan]
    key: str | None
    gpu: GPU | None
    parity: Parity
    accuracy: Accuracy | None


def export_run(
    run: Path,
    engine: Engine,
    precision: Precision,
    data: Path,
    say: Say = lambda _: None,
    timing_caches: Path | None = None,
) -> Exported:
    """Export the networks of a training run to an engine and compare it with them.

    Args:
        run: Folder of checkpoints, such as ``training/weights``.
        engine: What for.
        precision: In what. For ONNX, INT8 is that of the CPU engines, and of the segmenter alone.
        data: Folder of spider2d, for calibration and comparison; phantoms are used where it is not there.
        say: Told what is being done.
        timing_caches: Folder in which TensorRT keeps what it measured of its kernels.

    Raises:
        ExportError: See :mod:`export.errors`. Limits of parity that were passed are the caller's to refuse, once the
            report is written: :func:`require_limits`.
    """
    if precision not in _PRECISIONS[engine]:
        choices = ", ".join(_PRECISIONS[engine])
        raise BadNetwork(f"{engine} is not exported in {precision}.", f"--precision can be {choices}.")
    gpu = find_gpu() if engine in (Engine.TENSORRT, Engine.TORCH_TENSORRT) else None  # before any work is done
    trt = load_api(rtx=engine is Engine.TENSORRT_RTX) if engine in (Engine.TENSORRT, Engine.TENSORRT_RTX) else None
    trained = load_trained(run)
    say("ONNX export")
    fp32 = {name: export_onnx(trained.networks[name], network) for name, network in NETWORKS.items()}
    graphs = _cpu_graphs(fp32, precision, data) if engine is Engine.ONNX else graphs_in(fp32, precision, data)
    if engine is Engine.TORCH_TENSORRT and gpu is not None:
        built = _compile(trained, precision, gpu, say)
    else:
        built = _build(trt, graphs, gpu, timing_caches, say) if trt is not None else _Built(None, {}, {})
    say("comparison with the trained networks")
    reference = {name: torch_runner(trained.networks[name], network) for name, network in NETWORKS.items()}
    with ExitStack() as stack:
        candidate = _runners(engine, built, graphs, stack)
        parity = measure(_COMPUTED.get(engine, engine), precision, reference, candidate, held_out(data))
        say("comparison with masks and gradings")
        accuracy = _accuracy(engine, precision, data, reference, candidate)
    return Exported(
        trained,
        engine,
        precision,
        fp32=_serialised(fp32),
        quantised=_serialised(_changed(graphs, fp32)) if precision is Precision.INT8 else {},
        plans=built.plans,
        key=built.key,
        gpu=gpu,
        parity=parity,
        accuracy=accuracy,
    )


def require_limits(exported: Exported) -> None:
    """Refuse what differs too much from the trained networks, or is worse.

    Raises:
        ParityLost: Says which limits were passed.
    """
    require_parity(exported.parity)
    if exported.accuracy is not None:
        require_accuracy(exported.accuracy)


def _cpu_graphs(fp32: Mapping[str, onnx.ModelProto], precision: Precision, data: Path) -> dict[str, onnx.ModelProto]:
    """The networks' graphs for CPU engines: in INT8 the segmenter, which is the most of the work, and no more."""
    if precision is Precision.FP32:
        return dict(fp32)
    name = SEGMENTATION.name
    feeds = calibration(name, calibration_grids(data), onnx_runner(fp32[name]))
    return {**fp32, name: for_cpu(fp32[name], NETWORKS[name], feeds)}


def _changed(graphs: Mapping[str, onnx.ModelProto], fp32: Mapping[str, onnx.ModelProto]) -> dict[str, onnx.ModelProto]:
    return {name: graph for name, graph in graphs.items() if graph is not fp32[name]}


def _accuracy(
    engine: Engine, precision: Precision, data: Path, reference: Mapping[str, Runner], candidate: Mapping[str, Runner]
) -> Accuracy | None:
    if engine is not Engine.ONNX or precision is Precision.FP32 or not is_at_hand(data):
        return None
    return compare(data, answers_of(data, reference), answers_of(data, candidate))


@dataclass(frozen=True)
class _Built:
    """Engines as files, and as modules where torch-tensorrt compiled them."""

    key: str | None
    plans: Mapping[str, Plan]
    modules: Mapping[str, Any]


def _build(
    trt: TensorRT, graphs: Mapping[str, onnx.ModelProto], gpu: GPU | None, caches: Path | None, say: Say
) -> _Built:
    key = engine_key(gpu, trt.__version__) if gpu else f"tensorrt-rtx{trt.__version__}"
    plans = {}
    for name, graph in graphs.items():
        say(f"{key} builds {name}")
        plans[name] = build_with_cache(trt, graph, NETWORKS[name], caches if gpu else None, key)
    return _Built(key, plans, {})


def _compile(trained: Trained, precision: Precision, gpu: GPU, say: Say) -> _Built:
    from export.torch_tensorrt_builder import build_module, load_torch_tensorrt, saved

    package = load_torch_tensorrt()
    key = engine_key(gpu, f"-torch-tensorrt{package.__version__}")
    modules = {}
    for name, network in NETWORKS.items():
        say(f"{key} compiles {name}")
        modules[name] = build_module(package, trained.networks[name], network, precision)
    files = {name: saved(package, module, NETWORKS[name]) for name, module in modules.items()}
    return _Built(key, {name: Plan(file, b"", package.__version__, ()) for name, file in files.items()}, modules)


def _runners(
    engine: Engine, built: _Built, graphs: Mapping[str, onnx.ModelProto], stack: ExitStack
) -> dict[str, Runner]:
    if engine is Engine.TORCH_TENSORRT:
        return {name: torch_runner(module, NETWORKS[name], "cuda") for name, module in built.modules.items()}
    if engine is Engine.TENSORRT:
        return {n: stack.enter_context(plan_runner(plan.engine, NETWORKS[n])) for n, plan in built.plans.items()}
    runner = engine_runner if engine is Engine.ONNX else onnx_runner
    return {name: runner(graph) for name, graph in graphs.items()}


def graphs_in(fp32: Mapping[str, onnx.ModelProto], precision: Precision, data: Path) -> dict[str, onnx.ModelProto]:
    """The networks' graphs in a precision; INT8 is calibrated on slices of training patients and the discs in them."""
    feeds: dict[str, Iterable[Feed]] = dict.fromkeys(fp32, ())
    if precision is Precision.INT8:
        grids, segment = calibration_grids(data), onnx_runner(fp32[SEGMENTATION.name])
        feeds = {name: calibration(name, grids, segment) for name in fp32}
    return {name: in_precision(fp32[name], NETWORKS[name], precision, feeds[name]) for name in fp32}


def add_release(exported: Exported, repository: Repository) -> Release:
    """Write what was exported as the next release of a repository; it is not yet served.

    Raises:
        ReleaseExists: Someone else wrote this version at the same time.
    """
    number = repository.next_number()
    release = repository.add(number, release_files(exported, number), about(exported))
    if exported.engine is Engine.TENSORRT:  # the others' engines are not Triton's to load
        write_configs(repository.root, repository.service, exported.key)
    return release


def about(exported: Exported) -> dict[str, Any]:
    """What a ``release.json`` says beside its members."""
    return {
        "created": now(),
        "engine": exported.engine,
        "precision": exported.precision,
        "parity": exported.parity.as_json(),
        **({"accuracy": exported.accuracy.as_json()} if exported.accuracy is not None else {}),
    }


def release_files(exported: Exported, number: int) -> dict[str, dict[str, bytes]]:
    """The files of each network's version folder."""
    return {name: _network_files(exported, NETWORKS[name], number) for name in NETWORKS}


def _network_files(exported: Exported, network: Network, number: int) -> dict[str, bytes]:
    fp32 = exported.fp32[network.name]
    files = {"model.onnx": fp32, "model.py": MODEL_PY.encode()}
    if network.name in exported.quantised:
        name = int8_beside(Path("model.onnx")).name if exported.engine is Engine.ONNX else QUANTISED
        files[name] = exported.quantised[network.name]
    plan = exported.plans.get(network.name)
    if plan is not None and exported.key is not None:
        record = plan_record(fp32, plan, exported.precision, exported.gpu, exported.parity)
        files[plan_name(exported.key)] = plan.engine
        files[record_name(exported.key)] = as_bytes(record)
    manifest = {
        "model": network.name,
        "version": number,
        "created": now(),
        "engine": exported.engine,
        "precision": exported.precision,
        "opset": OPSET,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "training_run": {"checkpoints": exported.trained.sources, "figures": exported.trained.figures},
        "versions": versions() | ({"tensorrt": plan.tensorrt} if plan else {}),
        "gpu": asdict(exported.gpu) if exported.gpu else None,
    }
    return {**files, MANIFEST: as_bytes(manifest)}


def _serialised(models: Mapping[str, onnx.ModelProto]) -> dict[str, bytes]:
    return {name: model.SerializeToString() for name, model in models.items()}
