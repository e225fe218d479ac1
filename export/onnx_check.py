"""Whether an ONNX file is valid, and the network that the configs describe; needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from export.errors import BadNetwork
from export.models import Network

__all__ = ["check", "read_onnx"]


def check(model: onnx.ModelProto, network: Network) -> None:
    """Check a model by ONNX's own rules and against what Triton's configs promise.

    Raises:
        BadNetwork: It breaks one of them.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BadNetwork(f"{network.name} is not valid ONNX: {str(error).splitlines()[0]}") from error
    for found, wanted in ((model.graph.input, network.inputs), (model.graph.output, network.outputs)):
        promised = {tensor.name: (_element_type(tensor.data_type), 1 + len(tensor.dims)) for tensor in wanted}
        there = {t.name: (t.type.tensor_type.elem_type, len(t.type.tensor_type.shape.dim)) for t in found}
        if there != promised:
            raise BadNetwork(f"{network.name} has tensors {sorted(there)} that the configs do not describe.")


def read_onnx(path: Path, network: Network) -> onnx.ModelProto:
    """Read and check a model file.

    Raises:
        BadNetwork: It is missing, damaged or not this network.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's decode error has no public base
        raise BadNetwork(f"{path} is no readable ONNX file ({type(error).__name__}).") from error
    check(model, network)
    return model


def _element_type(data_type: str) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype({"UINT8": "uint8", "FP32": "float32"}[data_type])))
