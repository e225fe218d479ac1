"""Which GPU and which TensorRT an engine was built for, and whether it may be loaded here.

Needs the standard library and discgrade's base install: it runs in Triton's image, before the server does.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import NoGPU, VersionMismatch

__all__ = ["GPU", "check_server", "engine_key", "find_gpu", "plan_name", "record_name", "sha256", "why_stale"]

_QUERY = "name,compute_cap,memory.total,driver_version"


@dataclass(frozen=True)
class GPU:
    """The first GPU that this process may use.

    Attributes:
        name: As the driver gives it, such as ``NVIDIA H200``.
        compute_capability: Such as ``9.0``.
        memory_mib: In all.
        driver: Its version.
    """

    name: str
    compute_capability: str
    memory_mib: int
    driver: str


def find_gpu(program: str = "nvidia-smi") -> GPU:
    """Ask the driver.

    Args:
        program: NVIDIA's System Management Interface.

    Raises:
        NoGPU: There is no driver, or no GPU.
    """
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        name, capability, memory, driver = (part.strip() for part in answer.splitlines()[0].split(","))
        return GPU(name, capability, int(memory), driver)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise NoGPU(f"{program} names no GPU ({type(error).__name__}).") from error


def engine_key(gpu: GPU, tensorrt: str) -> str:
    """What engines of one GPU model and one TensorRT version are kept under; fit for file names.

    Args:
        gpu: Where the engine is built.
        tensorrt: Version of the TensorRT that builds it.
    """
    parts = (gpu.name, f"sm{gpu.compute_capability.replace('.', '')}", f"trt{tensorrt}")
    return "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-") for part in parts)


def check_server(tensorrt: str, library: str | None = None) -> None:
    """Make sure that engines of a TensorRT can be loaded by the tritonserver of this image.

    Python's package brings a library of its own; the server loads the system's. An engine of one is refused by another.

    Args:
        tensorrt: Version of the Python package.
        library: The server's ``libnvinfer``; by default the system's, where there is one.

    Raises:
        VersionMismatch: They are not the same.
    """
    name = library or ctypes.util.find_library("nvinfer")
    if name is None:
        return
    number = int(ctypes.CDLL(name).getInferLibVersion())  # NvInferRuntime.h: major x 10000 + minor x 100 + patch
    server = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    if tensorrt.split("+")[0].split(".")[:3] != server.split("."):
        raise VersionMismatch(
            f"Python's tensorrt is {tensorrt}, but the server's {name} is {server}: it would refuse the engines.",
            f"pip install 'tensorrt=={server}.*'.",
        )


def plan_name(key: str) -> str:
    """File of an engine in a network's version folder."""
    return f"model.{key}.plan"


def record_name(key: str) -> str:
    """File that says what the engine was built from."""
    return f"model.{key}.json"


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def why_stale(version: Path, key: str) -> str | None:
    """Why the engine of a version folder cannot be loaded here; None where it can.

    Args:
        version: Such as ``disc_grading/2``.
        key: Of this host, from :func:`engine_key`.
    """
    plan, record = version / plan_name(key), version / record_name(key)
    if not plan.is_file() or not record.is_file():
        others = sorted(path.name.removeprefix("model.").removesuffix(".plan") for path in version.glob("model.*.plan"))
        return f"no engine for {key}" + (f", only for {', '.join(others)}" if others else "")
    try:
        known: dict[str, Any] = json.loads(record.read_text())
        network, engine = known["network_sha256"], known["plan_sha256"]
    except (ValueError, KeyError, TypeError):
        return f"{record.name} cannot be read"
    if network != sha256(version / "model.onnx"):
        return "the engine was built from another model.onnx"
    if engine != sha256(plan):
        return "the engine file is damaged"
    return None
