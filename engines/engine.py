"""The interface of an engine, and the choice of one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from engines.cores import available_cores

__all__ = ["ENGINES", "Engine", "load_engine"]

Tensors = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """A network on the CPU, computed in FP32.

    Any batch size and any spatial size that the network itself takes may follow each other without recompilation.
    An engine serves one caller at a time: give each thread its own.

    Attributes:
        name: What computes, such as ``openvino``.
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


def load_engine(onnx_path: Path, threads: int | None = None, prefer: Sequence[str] = tuple(ENGINES)) -> Engine:
    """Load a network into the first engine of ``prefer`` that is installed.

    Args:
        onnx_path: The ONNX file; its dynamic dimensions stay dynamic.
        threads: Threads to compute with; by default the cores this process may use.
        prefer: Names from :data:`ENGINES`, best first.

    Raises:
        ImportError: None of them is installed.
        ValueError: ``prefer`` holds an unknown name.
    """
    if unknown := set(prefer) - ENGINES.keys():
        raise ValueError(f"unknown engines {sorted(unknown)}; known are {list(ENGINES)}")
    for name in prefer:
        if importlib.util.find_spec(name) is not None:
            return ENGINES[name](onnx_path, threads or available_cores())
    raise ImportError(f"none of the engines {list(prefer)} is installed: pip install 'discgrade[serve]'")
