"""Writes the networks of a run into release 1 of the committed repository: ``python -m export.onnx_export RUN``.

For development, before that release is published: it replaces the files in place. What is served elsewhere gets a
release of its own from ``discgrade export``, which never overwrites.
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
from export.models import MEMBERS, PIPELINE, Precision
from export.repository import RELEASE, release_text
from export.service import Service
from training.data import default_root

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, compare with the checkpoints, and replace release 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, default=model_repository.path())
    parser.add_argument("--precision", type=Precision, choices=[Precision.INT8, Precision.FP32], default=Precision.INT8)
    options = parser.parse_args(arguments)
    for name in ("torch.onnx", None):
        logging.getLogger(name).setLevel(logging.ERROR)
    exported = export_run(options.run, Engine.ONNX, options.precision, default_root())
    require_limits(exported)
    write_configs(options.to, Service.first())
    for name, files in release_files(exported, 1).items():
        int8_beside(options.to / name / "1" / "model.onnx").unlink(missing_ok=True)  # of the networks before
        for file, content in files.items():
            (options.to / name / "1" / file).write_bytes(content)
            print(f"wrote {name}/1/{file}")
    release = release_text(dict.fromkeys(MEMBERS, 1), about(exported))
    (options.to / PIPELINE / "1" / RELEASE).write_bytes(release)


if __name__ == "__main__":
    main()
