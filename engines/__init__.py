"""CPU engines that run the ONNX networks behind one interface, and the Triton Python-backend model that serves them."""

from engines.cores import available_cores
from engines.engine import ENGINES, Engine, load_engine

__all__ = ["ENGINES", "Engine", "available_cores", "load_engine"]
