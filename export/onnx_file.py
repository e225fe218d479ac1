"""Trained networks as ONNX files, the same bytes each time."""

from __future__ import annotations

import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from export.errors import BadNetwork
from export.models import Network
from export.onnx_check import check
from export.rewrite import for_engines

__all__ = ["OPSET", "example_inputs", "export_onnx"]

OPSET = 20

_FREE_SIZES = (256, 224)  # any two that differ: the exporter must not take height for width


def export_onnx(module: nn.Module, network: Network) -> onnx.ModelProto:
    """Export a network, in the form engines compute fastest (:mod:`export.rewrite`), and check it.

    Args:
        module: In evaluation mode; takes and gives the network's tensors in their order.
        network: Which tensors these are; batch and free dimensions stay free.

    Raises:
        BadNetwork: The exporter or the checker refuses it.
    """
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate((-1, *tensor.dims)) if dim < 0}
        for tensor in network.inputs
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own use of torch
            program = torch.onnx.export(
                for_engines(module),
                example_inputs(network),
                dynamo=True,
                optimize=True,
                opset_version=OPSET,
                input_names=[tensor.name for tensor in network.inputs],
                output_names=[tensor.name for tensor in network.outputs],
                dynamic_shapes=dynamic,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise BadNetwork(f"{network.name} cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    if program is None:
        raise BadNetwork(f"{network.name}: the exporter gave no program.")
    model = program.model_proto
    _forget_origin(model)
    check(model, network)
    return model


def example_inputs(network: Network, batch: int = 3) -> tuple[Tensor, ...]:
    """Random inputs of a network, always the same."""
    generator = torch.Generator().manual_seed(0)
    examples = []
    for tensor in network.inputs:
        sizes = iter(_FREE_SIZES)
        shape = (batch, *(next(sizes) if dim < 0 else dim for dim in tensor.dims))
        values = torch.rand(shape, generator=generator)
        examples.append((values * 255).to(torch.uint8) if tensor.data_type == "UINT8" else values)
    return tuple(examples)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop stack traces and source paths that the exporter notes on every node: they name a machine."""
    graph = model.graph
    part: Any
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
