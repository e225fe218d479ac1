"""ONNX → engine with TensorRT's builder, or with TensorRT-RTX's, which needs no GPU.

Both get strongly typed networks: the graph says what is computed in which type (:mod:`export.precision`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.errors import BadNetwork, ExportError, TooLittleMemory
from export.models import Network
from export.tensorrt_api import BuilderConfig, Parser, TensorRT

__all__ = ["Plan", "build_plan", "build_with_cache"]

_NO_MEMORY = ("out of memory", "outofmemory", "insufficient memory")


@dataclass(frozen=True)
class Plan:
    """A built engine.

    Attributes:
        engine: What Triton loads.
        timing_cache: For the next build on this GPU; empty where the builder keeps none.
        tensorrt: Version of the builder; an engine runs on no other.
        warnings: What the builder warned of.
    """

    engine: bytes
    timing_cache: bytes
    tensorrt: str
    warnings: tuple[str, ...]


def build_plan(trt: TensorRT, model: bytes, network: Network, timing_cache: bytes | None = None) -> Plan:
    """Parse a network and build its engine with the network's optimisation profiles.

    Args:
        trt: From :func:`export.tensorrt_api.load_api`.
        model: The ONNX graph in the precision to build.
        network: Its inputs and profiles.
        timing_cache: Of an earlier build on this GPU, empty before the first; one of another GPU or version is left
            aside. None keeps none: TensorRT-RTX has no use for one.

    Raises:
        BadNetwork: An operator is not supported, named with its node, or a profile is not valid.
        TooLittleMemory: No kernel fits into the memory that is free.
        ExportError: The build failed otherwise; the message ends with the builder's own.
    """
    log = _logger(trt)
    builder = trt.Builder(log)
    definition = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(definition, log)
    if not parser.parse(model):
        raise BadNetwork(f"{network.name}: {_refused(parser)}.")
    there = {definition.get_input(index).name for index in range(definition.num_inputs)}
    if there != {tensor.name for tensor in network.inputs}:
        raise BadNetwork(f"{network.name} has inputs {sorted(there)} that its profiles do not describe.")
    config = builder.create_builder_config()
    for batches in network.profiles:
        profile = builder.create_optimization_profile()
        for tensor in network.inputs:
            profile.set_shape(tensor.name, *tensor.shapes(batches))
        if config.add_optimization_profile(profile) < 0:
            raise BadNetwork(f"{network.name}: the optimisation profile for batches {batches} is not valid.")
    if timing_cache is not None:
        _use_cache(config, timing_cache)
    engine = builder.build_serialized_network(definition, config)
    if engine is None:
        reason = log.errors[-1] if log.errors else "no reason given"
        if any(sign in error.lower() for error in log.errors for sign in _NO_MEMORY):
            raise TooLittleMemory(f"{network.name} could not be built: {reason}")
        raise ExportError(f"{network.name} could not be built: {reason}")
    cache = config.get_timing_cache() if timing_cache is not None else None
    return Plan(
        engine=bytes(engine),
        timing_cache=bytes(cache.serialize()) if cache is not None else b"",
        tensorrt=trt.__version__,
        warnings=tuple(log.warnings),
    )


def build_with_cache(trt: TensorRT, graph: onnx.ModelProto, network: Network, folder: Path | None, key: str) -> Plan:
    """Build an engine, taking up and keeping what TensorRT measured of its kernels.

    Args:
        trt: See :func:`build_plan`.
        graph: The graph in the precision to build.
        network: See :func:`build_plan`.
        folder: Where the timing cache is kept; None keeps none.
        key: Of the GPU and TensorRT, from :func:`export.engine_key.engine_key`.
    """
    cache = None if folder is None else folder / f".timing-{network.name}.{key}"
    if cache is None:
        return build_plan(trt, graph.SerializeToString(), network)
    plan = build_plan(trt, graph.SerializeToString(), network, cache.read_bytes() if cache.is_file() else b"")
    cache.write_bytes(plan.timing_cache)  # a torn one is refused by the next build, which then measures anew
    return plan


def _use_cache(config: BuilderConfig, kept: bytes) -> None:
    if not config.set_timing_cache(config.create_timing_cache(kept), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _refused(parser: Parser) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return "; ".join(
        f"operator {error.node_operator() or '?'} of node {error.node_name() or '?'}: {error.desc().strip()}"
        for error in errors
    )


def _logger(trt: TensorRT) -> Any:
    """Keeps what the builder says, instead of printing it."""

    class Log(trt.ILogger):  # type: ignore[misc,name-defined]  # a class that is known only at run time
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (self.ERROR, self.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == self.WARNING:
                self.warnings.append(message)

    return Log()
