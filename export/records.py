"""What is written beside exported files: versions, hashes, times."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from export.engine_key import GPU
from export.models import Precision
from export.parity import Parity
from export.tensorrt_builder import Plan

__all__ = ["as_bytes", "now", "plan_record", "versions"]

_PACKAGES = ("discgrade", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def versions() -> dict[str, str]:
    """Of what an export depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # such as discgrade itself, run from a checkout
            continue
    return found


def plan_record(fp32: bytes, plan: Plan, precision: Precision, gpu: GPU | None, parity: Parity) -> dict[str, Any]:
    """What is kept beside an engine; :func:`export.engine_key.why_stale` reads it."""
    return {
        "network_sha256": hashlib.sha256(fp32).hexdigest(),
        "plan_sha256": hashlib.sha256(plan.engine).hexdigest(),
        "precision": precision,
        "tensorrt": plan.tensorrt,
        "gpu": asdict(gpu) if gpu else None,
        "created": now(),
        "parity": parity.as_json(),
    }


def as_bytes(content: Any) -> bytes:
    """JSON for people and machines."""
    return (json.dumps(content, indent=2) + "\n").encode()


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
