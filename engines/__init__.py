"""CPU engines that run the ONNX networks behind one interface, and the Triton Python-backend model that serves them."""

from engines.cores import available_cores
from engines.engine import ENGINES, PRECISION_VARIABLE, CPUPrecision, Engine, int8_beside, load_engine

__all__ = [
    "ENGINES",
    "PRECISION_VARIABLE",
    "CPUPrecision",
    "Engine",
    "available_cores",
    "int8_beside",
    "load_engine",
]
