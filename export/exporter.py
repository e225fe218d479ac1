"""``discgrade export``: a training run → networks for an engine → parity → a release in a model repository."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnx

from export.checkpoints import Trained, load_trained
from export.configs import write_configs
from export.engine_key import GPU, engine_key, find_gpu, plan_name, record_name
from export.errors import BadNetwork, ParityLost
from export.models import NETWORKS, SEGMENTATION, Network, Precision
from export.onnx_export import OPSET, export_onnx
from export.parity import Parity, measure
from export.precision import Feed, in_precision
from export.repository import MANIFEST, MODEL_PY, Release, Repository
from export.runners import onnx_runner, plan_runner, torch_runner
from export.samples import Runner, calibration, calibration_grids, held_out
from export.tensorrt_api import load_api
from export.tensorrt_builder import Plan, build_plan

__all__ = [
    "Engine",
    "Exported",
    "add_release",
    "as_bytes",
    "export_run",
    "graphs_in",
    "plan_record",
    "release_files",
    "require_parity",
    "versions",
]

Say = Callable[[str], None]


class Engine(StrEnum):
    """What a network is exported to."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    TORCH_TENSORRT = "torch-tensorrt"


_PRECISIONS = {
    Engine.ONNX: (Precision.FP32,),
    Engine.TENSORRT: tuple(Precision),
    Engine.TENSORRT_RTX: tuple(Precision),
    Engine.TORCH_TENSORRT: (Precision.FP32, Precision.FP16),
}
_PACKAGES = ("discgrade", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        trained: What it started from.
        engine: For which engine.
        precision: In which precision.
        fp32: The networks' ONNX files in FP32, by name.
        plans: Their engines; empty for ONNX.
        key: Of the GPU and TensorRT that the engines are for; None where any will do.
        gpu: Where they were built.
        parity: Against the trained networks.
    """

    trained: Trained
    engine: Engine
    precision: Precision
    fp32: Mapping[str, bytes]
    plans: Mapping[str, Plan]
    key: str | None
    gpu: GPU | None
    parity: Parity


def export_run(
    run: Path,
    engine: Engine,
    precision: Precision,
    data: Path,
    say: Say = lambda _: None,
    timing_cache: Callable[[str], Path] | None = None,
) -> Exported:
    """Export the networks of a training run to an engine and compare it with them.

    Args:
        run: Folder of checkpoints, such as ``training/weights``.
        engine: What for.
        precision: In what; ONNX is served in FP32, torch-tensorrt in FP32 or FP16.
        data: Folder of spider2d, for calibration and comparison; phantoms are used where it is not there.
        say: Told what is being done.
        timing_cache: From a key (GPU and TensorRT) to the file in which TensorRT keeps what it measured.

    Raises:
        ExportError: See :mod:`export.errors`; never :class:`~export.errors.ParityLost`, which the caller raises when
            it has written the report (:func:`require_parity`).
    """
    if precision not in _PRECISIONS[engine]:
        choices = ", ".join(_PRECISIONS[engine])
        raise BadNetwork(f"{engine} is not exported in {precision}.", f"--precision can be {choices}.")
    gpu = find_gpu() if engine in (Engine.TENSORRT, Engine.TORCH_TENSORRT) else None  # before any work is done
    trt = load_api(rtx=engine is Engine.TENSORRT_RTX) if engine in (Engine.TENSORRT, Engine.TENSORRT_RTX) else None
    trained = load_trained(run)
    say("ONNX export")
    fp32 = {name: export_onnx(trained.networks[name], network) for name, network in NETWORKS.items()}
    plans: dict[str, Plan] = {}
    key = None
    with ExitStack() as open_runners:
        if engine is Engine.TORCH_TENSORRT:
            say(f"torch-tensorrt compiles in {precision}")
            candidate = _torch_tensorrt(trained, precision)
        else:
            graphs = graphs_in(fp32, precision, data)
            candidate = {name: onnx_runner(graph) for name, graph in graphs.items()}
        if trt is not None:
            key = engine_key(gpu, trt.__version__) if gpu else f"tensorrt-rtx{trt.__version__}"
            for name, graph in graphs.items():
                say(f"{engine} builds {name} in {precision}")
                cache = timing_cache(f"{name}.{key}") if timing_cache and gpu else None
                plans[name] = _build(trt, graph, NETWORKS[name], cache)
            if gpu:
                candidate = {
                    name: open_runners.enter_context(plan_runner(plan.engine, NETWORKS[name]))
                    for name, plan in plans.items()
                }
        say("comparison with the trained networks")
        reference = {name: torch_runner(trained.networks[name], network) for name, network in NETWORKS.items()}
        computed = {Engine.ONNX: "ONNX Runtime", Engine.TENSORRT_RTX: "ONNX Runtime (graph of tensorrt-rtx)"}
        parity = measure(computed.get(engine, engine), precision, reference, candidate, held_out(data))
    contents = {name: model.SerializeToString() for name, model in fp32.items()}
    return Exported(trained, engine, precision, contents, plans, key, gpu, parity)


def graphs_in(fp32: Mapping[str, onnx.ModelProto], precision: Precision, data: Path) -> dict[str, onnx.ModelProto]:
    """The networks' graphs in a precision; INT8 is calibrated on slices of training patients and the discs in them."""
    feeds: dict[str, Iterable[Feed]] = dict.fromkeys(fp32, ())
    if precision is Precision.INT8:
        grids, segment = calibration_grids(data), onnx_runner(fp32[SEGMENTATION.name])
        feeds = {name: calibration(name, grids, segment) for name in fp32}
    return {name: in_precision(fp32[name], NETWORKS[name], precision, feeds[name]) for name in fp32}


def require_parity(parity: Parity) -> None:
    """Fail the export of an engine that differs too much.

    Raises:
        ParityLost: Says which limits were passed.
    """
    if failures := parity.failures():
        raise ParityLost(f"{parity.engine} in {parity.precision}: {'; '.join(failures)}.")


def add_release(exported: Exported, repository: Repository) -> Release:
    """Write what was exported as the next release of a repository; it is not yet served.

    Raises:
        ReleaseExists: Someone else wrote this version at the same time.
    """
    number = repository.next_number()
    about = {
        "created": _now(),
        "engine": exported.engine,
        "precision": exported.precision,
        "parity": exported.parity.as_json(),
    }
    release = repository.add(number, release_files(exported, number), about)
    if exported.gpu is not None and exported.plans:
        write_configs(repository.root, repository.service, exported.key)
    return release


def release_files(exported: Exported, number: int) -> dict[str, dict[str, bytes]]:
    """The files of each network's version folder."""
    return {name: _network_files(exported, NETWORKS[name], number) for name in NETWORKS}


def versions() -> dict[str, str]:
    """Of what an export depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # such as discgrade itself, run from a checkout
            continue
    return found


def plan_record(fp32: bytes, plan: Plan, precision: Precision, gpu: GPU | None, parity: Parity) -> dict[str, Any]:
    """What is kept beside an engine; :func:`export.engine_key.why_stale` reads it."""
    return {
        "network_sha256": hashlib.sha256(fp32).hexdigest(),
        "plan_sha256": hashlib.sha256(plan.engine).hexdigest(),
        "precision": precision,
        "tensorrt": plan.tensorrt,
        "gpu": asdict(gpu) if gpu else None,
        "created": _now(),
        "parity": parity.as_json(),
    }


def _network_files(exported: Exported, network: Network, number: int) -> dict[str, bytes]:
    fp32 = exported.fp32[network.name]
    files = {"model.onnx": fp32, "model.py": MODEL_PY.encode()}
    plan = exported.plans.get(network.name)
    if plan is not None and exported.key is not None:
        record = plan_record(fp32, plan, exported.precision, exported.gpu, exported.parity)
        files[plan_name(exported.key)] = plan.engine
        files[record_name(exported.key)] = as_bytes(record)
    manifest = {
        "model": network.name,
        "version": number,
        "created": _now(),
        "engine": exported.engine,
        "precision": exported.precision,
        "opset": OPSET,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "training_run": {"checkpoints": exported.trained.sources, "figures": exported.trained.figures},
        "versions": versions() | ({"tensorrt": plan.tensorrt} if plan else {}),
        "gpu": asdict(exported.gpu) if exported.gpu else None,
    }
    return {**files, MANIFEST: as_bytes(manifest)}


def _build(trt: Any, graph: onnx.ModelProto, network: Network, cache: Path | None) -> Plan:
    kept = cache.read_bytes() if cache is not None and cache.is_file() else b""
    plan = build_plan(trt, graph.SerializeToString(), network, kept)
    if cache is not None:
        cache.write_bytes(plan.timing_cache)
    return plan


def _torch_tensorrt(trained: Trained, precision: Precision) -> dict[str, Runner]:
    from export.torch_tensorrt_builder import build_module, load_torch_tensorrt

    package = load_torch_tensorrt()
    modules = {
        name: build_module(package, trained.networks[name], network, precision) for name, network in NETWORKS.items()
    }
    return {name: torch_runner(module, NETWORKS[name], "cuda") for name, module in modules.items()}


def as_bytes(content: Any) -> bytes:
    """JSON for people and machines."""
    return (json.dumps(content, indent=2) + "\n").encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
