"""Starts tritonserver with the engines of this host: ``python3 -m export.startup REPOSITORY -- tritonserver …``.

An engine runs on the GPU model and the TensorRT version it was built for, and on no other. This runs in Triton's image
before the server does. Where every network in service has an engine for this host, tritonserver gets
``--model-config-name=KEY``, the config that names those engines. Where one is missing, stale or damaged it says so and
lets the ONNX variant serve (``--model-config-name=onnx``), until the engines are built (``python3 -m
export.build_engines``) and the server is started again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from export.engine_key import check_server, engine_key, find_gpu, why_stale
from export.errors import ExportError
from export.models import CANARY

__all__ = ["main", "problems", "versions_in_service"]

_VERSIONS = re.compile(r"version_policy \{\s*specific \{\s*versions: \[([\d, ]+)\]")


def versions_in_service(config: Path) -> list[int]:
    """The versions that a ``config.pbtxt`` of discgrade has Triton load.

    Raises:
        ValueError: It names none.
    """
    found = _VERSIONS.search(config.read_text())
    if found is None:
        raise ValueError(f"{config} names no versions")
    return [int(version) for version in found[1].split(",")]


def problems(repository: Path, key: str) -> list[str]:
    """What keeps the engines of this host from being served: a sentence each; empty where nothing does."""
    found = []
    for model in sorted(path.parent for path in repository.glob("*/configs")):
        if not (model / "configs" / f"{key}.pbtxt").is_file():
            found.append(f"{model.name}: no config names engines for {key}")
            continue
        for version in versions_in_service(model / "config.pbtxt"):
            if (reason := why_stale(model / str(version), key)) is not None:
                found.append(f"{model.name} version {version}: {reason}")
    return found


def variant(repository: Path) -> tuple[str, list[str]]:
    """Which config variant fits this host, and what speaks against its engines."""
    try:
        tensorrt = str(importlib.import_module("tensorrt").__version__)
        key = engine_key(find_gpu(), tensorrt)
        check_server(tensorrt)
    except ImportError:
        return "onnx", ["the Python package tensorrt, which tells TensorRT's version, is not in this image"]
    except ExportError as error:
        return "onnx", [error.detail]
    found = problems(repository, key)
    return ("onnx" if found else key), found


def main(
    arguments: Sequence[str] | None = None, replace_process: Callable[[str, list[str]], object] = os.execvp
) -> None:
    """Choose the variant, say why, and become tritonserver.

    Args:
        arguments: By default the command line's.
        replace_process: As ``os.execvp``.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("command", nargs="+", help="tritonserver and its options, after --")
    options = parser.parse_args(arguments)
    chosen, found = variant(options.repository)
    for reason in found:
        _say("warning", "engine not used", reason=reason)
    if found:
        _say("warning", "the ONNX variant serves", build="python3 -m export.build_engines " + str(options.repository))
    _say("info", "tritonserver starts", variant=chosen)
    command = [
        *options.command,
        f"--model-repository={options.repository}",
        f"--model-config-name={chosen}",
    ]
    if (options.repository / CANARY).exists():
        command.append(f"--load-model={CANARY}")
    replace_process(command[0], command)


def _say(level: str, event: str, **facts: str) -> None:
    print(json.dumps({"level": level, "event": event, **facts}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
