"""Checkpoint → engine with torch-tensorrt: dynamo, ahead of time, without ONNX in between.

The second way to the same engine: what TensorRT's ONNX parser and torch-tensorrt's converters make of a network can be
compared. The engine cannot be served by the configs, for torch-tensorrt names its outputs itself; see decision 0011.

Source: "Torch-TensorRT documentation", ``torch_tensorrt.dynamo``. Not run where this was written: there was no GPU.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from export.errors import BadNetwork, MissingTool
from export.models import Network, Precision
from export.onnx_file import example_inputs

__all__ = ["TorchTensorRT", "build_module", "load_torch_tensorrt", "saved"]

_TYPES = {"UINT8": torch.uint8, "FP32": torch.float32}


class TorchTensorRT(Protocol):
    """The part of ``torch_tensorrt`` that is used here."""

    __version__: str
    dynamo: Any

    def save(self, module: Any, file_path: str, *, output_format: str, arg_inputs: Any) -> None:
        """Write a compiled module."""

    def Input(  # noqa: N802 - the package's own name
        self, *, min_shape: Any, opt_shape: Any, max_shape: Any, dtype: torch.dtype
    ) -> Any:
        """One input and its range of shapes."""


def load_torch_tensorrt() -> TorchTensorRT:
    """Import torch-tensorrt.

    Raises:
        MissingTool: It, or the TensorRT it needs, is not installed.
    """
    try:
        return cast(TorchTensorRT, importlib.import_module("torch_tensorrt"))
    except (ImportError, OSError) as error:
        advice = "Install the torch-tensorrt that fits the installed torch; see docs/export.md."
        raise MissingTool(f"torch_tensorrt cannot be imported: {error}", advice) from error


def build_module(
    torch_tensorrt: TorchTensorRT, module: nn.Module, network: Network, precision: Precision, device: str = "cuda"
) -> Any:
    """Compile a network ahead of time; every operator must be converted.

    Args:
        torch_tensorrt: From :func:`load_torch_tensorrt`.
        module: The trained network, in FP32.
        network: Its inputs and profiles; torch-tensorrt takes one range of shapes, which spans all profiles.
        precision: FP32 or FP16.
        device: Where to trace it; torch-tensorrt computes on the GPU alone.

    Returns:
        A module that computes as ``module`` does, on the GPU.

    Raises:
        BadNetwork: INT8 was asked for, or an operator cannot be converted.
    """
    if precision is Precision.INT8:
        raise BadNetwork(
            "torch-tensorrt quantises with another package.", "Build INT8 with --engine tensorrt, from ONNX."
        )
    examples = tuple(example.to(device) for example in example_inputs(network))
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate((-1, *tensor.dims)) if dim < 0}
        for tensor in network.inputs
    )
    program = torch.export.export(module.eval().to(device), examples, dynamic_shapes=dynamic)
    try:
        return torch_tensorrt.dynamo.compile(program, **settings(torch_tensorrt, network, precision))
    except RuntimeError as error:
        raise BadNetwork(f"{network.name}: torch-tensorrt cannot compile it: {error}") from error


def saved(torch_tensorrt: TorchTensorRT, module: Any, network: Network, device: str = "cuda") -> bytes:
    """A compiled network as a file that ``torch_tensorrt.load`` reads back, on the same kind of GPU."""
    examples = [example.to(device) for example in example_inputs(network)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ep"
        torch_tensorrt.save(module, str(path), output_format="exported_program", arg_inputs=examples)
        return path.read_bytes()


def settings(torch_tensorrt: TorchTensorRT, network: Network, precision: Precision) -> Mapping[str, Any]:
    """What ``torch_tensorrt.dynamo.compile`` is told."""
    smallest = min(batches[0] for batches in network.profiles)
    usual = network.profiles[0][1]
    inputs = []
    for tensor in network.inputs:
        low, opt, high = tensor.shapes((smallest, usual, network.max_batch))
        inputs.append(
            torch_tensorrt.Input(min_shape=low, opt_shape=opt, max_shape=high, dtype=_TYPES[tensor.data_type])
        )
    return {
        "arg_inputs": inputs,
        "enabled_precisions": {torch.float32, torch.float16} if precision is Precision.FP16 else {torch.float32},
        "require_full_compilation": True,
        "immutable_weights": True,
    }
