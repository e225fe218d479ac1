"""Computes model.onnx beside this file with a CPU engine (configs/cpu.pbtxt)."""

from engines.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
