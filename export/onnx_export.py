"""Writes the networks of a run into a release of the committed repository: ``python -m export.onnx_export RUN``.

For development, before that release is published: it replaces the files in place, and has this release alone loaded.
In a release of another number, a network that is the same as the one in service stays at its version. What is served
elsewhere gets a release of its own from ``discgrade export``, which never overwrites.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import model_repository
from engines import int8_beside
from export.configs import write_configs
from export.exporter import Engine, about, export_run, release_files, require_limits
from export.models import PIPELINE, Precision
from export.repository import RELEASE, Repository, release_text
from export.service import Service
from training.data import default_root

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, compare with the checkpoints, write the release, and put it in service."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, default=model_repository.path())
    parser.add_argument("--release", type=int, help="its number; by default that of the release in service")
    parser.add_argument("--precision", type=Precision, choices=[Precision.INT8, Precision.FP32], default=Precision.INT8)
    options = parser.parse_args(arguments)
    for name in ("torch.onnx", None):
        logging.getLogger(name).setLevel(logging.ERROR)
    repository = Repository(options.to)
    service = repository.service
    number = options.release or service.release
    exported = export_run(options.run, Engine.ONNX, options.precision, default_root())
    require_limits(exported)
    networks = {
        name: files
        for name, files in release_files(exported, number).items()
        if number == service.release or files["model.onnx"] != repository.network(name).read_bytes()
    }
    for name, files in networks.items():
        folder = options.to / name / str(number)
        folder.mkdir(exist_ok=True)
        int8_beside(folder / "model.onnx").unlink(missing_ok=True)  # of the networks before
        for file, content in files.items():
            (folder / file).write_bytes(content)
            print(f"wrote {name}/{number}/{file}")
    members = {**service.members, **dict.fromkeys(networks, number)}
    ensemble = options.to / PIPELINE / str(number)
    ensemble.mkdir(exist_ok=True)
    (ensemble / RELEASE).write_bytes(release_text(members, about(exported)))
    write_configs(options.to, Service(number, members, {name: (version,) for name, version in members.items()}))


if __name__ == "__main__":
    main()
