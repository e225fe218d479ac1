"""The interface of an engine, and the choice of one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from engines.cores import available_cores

__all__ = ["ENGINES", "PRECISION_VARIABLE", "CPUPrecision", "Engine", "int8_beside", "load_engine"]

Tensors = Mapping[str, NDArray[Any]]

PRECISION_VARIABLE = "DISCGRADE_CPU_PRECISION"
"""Environment variable with a :class:`CPUPrecision`: what is computed in where the caller does not say."""


class CPUPrecision(StrEnum):
    """What a network is computed in on the CPU."""

    INT8 = "int8"
    """INT8 where the release has it for the network, else FP32. The default."""
    FP32 = "fp32"


def int8_beside(onnx_path: Path) -> Path:
    """Where a release keeps the network whose convolutions are INT8, if it has one: ``model.int8.onnx``."""
    return onnx_path.with_name(f"{onnx_path.stem}.int8{onnx_path.suffix}")


class Engine(Protocol):
    """A network on the CPU.

    Any batch size and any spatial size that the network itself takes may follow each other without recompilation.
    An engine serves one caller at a time: give each thread its own.

    Attributes:
        name: What computes, such as ``openvino``; ``openvino-int8`` where the convolutions are INT8.
        threads: How many threads it computes with.
        inputs: Names of the network's inputs.
        outputs: Names of the network's outputs.
    """

    name: str
    threads: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Compute every output; the first dimension of each tensor is the batch.

        Args:
            inputs: One C-contiguous array for each of ``inputs``, in the network's own types.

        Returns:
            Arrays by output name, owned by the caller.
        """
        ...


def _openvino(onnx_path: Path, threads: int) -> Engine:
    from engines.openvino_engine import OpenVINOEngine

    return OpenVINOEngine(onnx_path, threads)


def _onnxruntime(onnx_path: Path, threads: int) -> Engine:
    from engines.onnxruntime_engine import ONNXRuntimeEngine

    return ONNXRuntimeEngine(onnx_path, threads)


ENGINES: dict[str, Callable[[Path, int], Engine]] = {"openvino": _openvino, "onnxruntime": _onnxruntime}
"""Engines by name, which is also the package each needs; the fastest first."""


def load_engine(
    onnx_path: Path,
    threads: int | None = None,
    prefer: Sequence[str] = tuple(ENGINES),
    precision: CPUPrecision | None = None,
) -> Engine:
    """Load a network into the first engine of ``prefer`` that is installed.

    Args:
        onnx_path: The network in FP32; its dynamic dimensions stay dynamic.
        threads: Threads to compute with; by default the cores this process may use.
        prefer: Names from :data:`ENGINES`, best first.
        precision: By default that of the environment variable :data:`PRECISION_VARIABLE`.

    Raises:
        ImportError: None of them is installed.
        ValueError: ``prefer`` or the environment variable holds an unknown name.
    """
    if unknown := set(prefer) - ENGINES.keys():
        raise ValueError(f"unknown engines {sorted(unknown)}; known are {list(ENGINES)}")
    wanted = precision or _wanted_precision()
    lower = int8_beside(onnx_path)
    in_int8 = wanted is CPUPrecision.INT8 and lower.is_file()
    for name in prefer:
        if importlib.util.find_spec(name) is not None:
            engine = ENGINES[name](lower if in_int8 else onnx_path, threads or available_cores())
            if in_int8:
                engine.name = f"{name}-{wanted}"
            return engine
    raise ImportError(f"none of the engines {list(prefer)} is installed: pip install 'discgrade[serve]'")


def _wanted_precision() -> CPUPrecision:
    try:
        return CPUPrecision(os.environ.get(PRECISION_VARIABLE, CPUPrecision.INT8))
    except ValueError as error:
        raise ValueError(f"{PRECISION_VARIABLE} can be {' or '.join(CPUPrecision)}") from error
