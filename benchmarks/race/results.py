"""What a run found, as it is kept: ``benchmarks/results/race.json``."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from pydantic import BaseModel

import discgrade
from engines import available_cores

__all__ = ["Results", "machine"]

_PACKAGES = ("onnxruntime", "openvino", "torch", "nvidia-pytriton", "numpy")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")


class Results(BaseModel):
    """One run.

    Attributes:
        machine: Cores, processor, versions.
        contenders: What each key stands for.
        latency_ms: Of one study at a time, by contender; every round.
        throughput: Studies a second, by number of clients and contender.
        stages_ms: Of (a), one study at a time: medians, by stage.
        triton_ms: Of (a), one study at a time: mean compute of each member of the ensemble.
        slices_ms: By number of slices, (a) and (b, region): medians.
        matrix_ms: By matrix, likewise; the field of view stays.
        field_ms: By field of view in mm, likewise; the pixels stay.
        memory: See :func:`benchmarks.race.measure.memory`.
        bytes: Of the study's DICOM files.
        grid: Shape of its tensor.
    """

    machine: dict[str, str | int]
    contenders: dict[str, str]
    latency_ms: dict[str, list[float]]
    throughput: dict[int, dict[str, float]]
    stages_ms: dict[str, float]
    triton_ms: dict[str, float]
    slices_ms: dict[int, dict[str, float]]
    matrix_ms: dict[int, dict[str, float]]
    field_ms: dict[int, dict[str, float]]
    memory: dict[str, list[float]]
    bytes: int
    grid: tuple[int, ...]


def machine(engine: str) -> dict[str, str | int]:
    """Describe this machine.

    Args:
        engine: That which discgrade serves.
    """
    model, flags = platform.processor() or platform.machine(), set[str]()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        elif name.strip() == "flags":
            flags = set(value.split())
    return {
        "cores": available_cores(),
        "processor": model,
        "of its instructions": ", ".join(flag for flag in _FLAGS if flag in flags),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "discgrade": discgrade.__version__,
        "engine served": engine,
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }
