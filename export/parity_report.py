"""Writes the parity report of the committed networks: ``python -m export.parity_report RUN`` (``make parity``).

Every precision is built by TensorRT-RTX, which needs no GPU, and its graph computed by ONNX Runtime and compared with
the trained networks. It fails where a limit is passed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from export import report
from export.errors import ExportError
from export.exporter import Engine, Exported, export_run
from export.models import Precision
from export.parity import require_parity
from export.records import versions
from training.data import default_root

__all__ = ["main"]

_NOT_RUN = (
    "no GPU was at hand: the engines of TensorRT-RTX were built, not run; "
    "TensorRT and torch-tensorrt were neither built nor run (`make test-gpu` on a GPU host does)"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write, and exit with 1 where an engine differs too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/models"))
    parser.add_argument("--data", type=Path, default=default_root(), help="spider2d; phantoms where it is not there")
    options = parser.parse_args(arguments)
    for name in ("torch.onnx", None):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        exported = [export_run(options.run, Engine.TENSORRT_RTX, one, options.data) for one in Precision]
        report.write(options.out, [one.parity for one in exported], _facts(exported))
        for one in exported:
            require_parity(one.parity)
    except ExportError as error:
        sys.exit(f"{error.title}. {error.detail}\nWhat to do: {error.advice}")


def _facts(exported: Sequence[Exported]) -> dict[str, str]:
    first = exported[0]
    return {
        **{f"sha256 of {path}": digest for path, digest in first.trained.sources.items()},
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        **{
            f"TensorRT-RTX {plan.tensorrt}, {one.precision}, {name}": f"built, {len(plan.engine) / 1e6:.1f} MB"
            for one in exported
            for name, plan in one.plans.items()
        },
        "GPU": _NOT_RUN,
    }


if __name__ == "__main__":
    main()
