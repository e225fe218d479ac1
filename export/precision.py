"""A network's ONNX graph in half precision, or with explicit INT8 quantisation (QDQ).

TensorRT and TensorRT-RTX take both as strongly typed networks: the graph says what is computed in which type, the
builder only chooses kernels. So the same graph can be computed, and compared, without a GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from export.errors import BadNetwork
from export.models import Network, Precision
from export.onnx_check import check

__all__ = ["Feed", "for_cpu", "in_precision"]

Feed = Mapping[str, NDArray[Any]]
"""One batch: an array for each input."""

_HALF = {"Concat", "Conv", "ConvTranspose", "DepthToSpace", "Gemm", "MaxPool", "Relu", "Reshape", "Resize", "Transpose"}
"""What is computed in half precision: the layers that cost time, and sums of convolutions. Scaling, comparing and
probabilities stay in FP32."""
_CONVOLUTIONS = ("Conv", "ConvTranspose")


def in_precision(
    model: onnx.ModelProto, network: Network, precision: Precision, calibration: Iterable[Feed]
) -> onnx.ModelProto:
    """The same network in another precision; inputs and outputs keep their types.

    Args:
        model: In FP32, from :func:`export.onnx_file.export_onnx`.
        network: Which network.
        precision: FP32 gives the model itself.
        calibration: Real inputs whose largest activations set the INT8 scales; read for INT8 only.

    Raises:
        BadNetwork: The result is not valid ONNX.
    """
    if precision is Precision.FP32:
        return model
    changed = _half(model) if precision is Precision.FP16 else _quantised(model, calibration, symmetric=True)
    check(changed, network)
    return changed


def for_cpu(model: onnx.ModelProto, network: Network, calibration: Iterable[Feed]) -> onnx.ModelProto:
    """The same network with INT8 convolutions as CPUs have them: unsigned activations, signed weights.

    Args:
        model: In FP32, from :func:`export.onnx_file.export_onnx`.
        network: Which network.
        calibration: Real inputs; the smallest and largest activations set the scales.

    Raises:
        BadNetwork: The result is not valid ONNX, or there is nothing to calibrate with.
    """
    changed = _quantised(model, calibration, symmetric=False)
    check(changed, network)
    return changed


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = sorted({node.op_type for node in model.graph.node} - _HALF - {"Add"})
    convolved = {name for node in model.graph.node if node.op_type in _CONVOLUTIONS for name in node.output}
    sums = [node.name for node in model.graph.node if node.op_type == "Add" and not convolved & set(node.input)]
    half = OnnxModel(convert_float_to_float16(copy, keep_io_types=True, op_block_list=kept, node_block_list=sums))
    half.topological_sort()  # the converter puts its casts at the end,
    del half.model.graph.value_info[:]  # and leaves the types of inner tensors as they were
    sorted_model: onnx.ModelProto = half.model
    return sorted_model


def _quantised(model: onnx.ModelProto, calibration: Iterable[Feed], *, symmetric: bool) -> onnx.ModelProto:
    """Insert quantise/dequantise pairs before convolutions; what these sum up stays as it is until the next pair.

    Weights have a scale a channel. Biases are left alone: TensorRT refuses ONNX Runtime's INT32 ones.

    Args:
        model: In FP32.
        calibration: Inputs, read once; the smallest and largest activations set the scales.
        symmetric: Signed activations around zero, which TensorRT wants; else unsigned ones, which lose no bit where
            nothing is negative.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self._feeds: Iterator[Feed] = iter(calibration)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with tempfile.TemporaryDirectory() as folder:
        quantised = Path(folder) / "quantised.onnx"
        try:
            quantize_static(
                copy,
                quantised,
                Reader(),
                op_types_to_quantize=list(_CONVOLUTIONS),
                per_channel=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={
                    "ActivationSymmetric": symmetric,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "OpTypesToExcludeOutputQuantization": list(_CONVOLUTIONS),
                },
            )
        except ValueError as error:  # such as a calibration without data
            raise BadNetwork(f"The network cannot be quantised: {error}") from error
        return onnx.load(quantised)
