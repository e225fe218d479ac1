"""``discgrade export``: a trained checkpoint → an engine, compared with the network, as a new release."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from discgrade._command import exit_with, suite
from discgrade.errors import DiscgradeError

__all__ = ["export"]


class EngineOption(StrEnum):
    """What a network is exported to."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    TORCH_TENSORRT = "torch-tensorrt"


class PrecisionOption(StrEnum):
    """What a network computes in."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run's checkpoints, such as training/weights.")],
    engine: Annotated[EngineOption, typer.Option(help="What for; tensorrt and torch-tensorrt need a GPU.")] = (
        EngineOption.ONNX
    ),
    precision: Annotated[PrecisionOption, typer.Option(help="For onnx fp32, or int8 for the segmenter on CPUs.")] = (
        PrecisionOption.FP32
    ),
    to: Annotated[
        Path | None, typer.Option(help="Model repository that gets the next release; omitted, nothing is written.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for parity.json and parity.md.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of spider2d, to calibrate and compare with; else phantoms.")
    ] = None,
) -> None:
    """Export a training run's networks, compare them with it, and add them to a model repository as the next release.

    The release is served once it is promoted: discgrade models promote.
    """
    try:
        with suite():
            _run(run, engine, precision, to, report, data, Console(highlight=False))
    except DiscgradeError as error:
        raise exit_with(error) from error


def _run(
    run: Path, engine: str, precision: str, to: Path | None, report_to: Path | None, data: Path | None, console: Console
) -> None:
    from export import report
    from export.exporter import Engine, add_release, export_run, require_limits
    from export.models import PIPELINE, Precision
    from export.records import versions
    from export.repository import Repository
    from training.data import default_root

    for name in ("torch.onnx", None):  # the exporter names packages it does not find, the quantiser gives advice
        logging.getLogger(name).setLevel(logging.ERROR)
    repository = Repository(to) if to is not None else None  # refused before the work, not after it
    exported = export_run(
        run,
        Engine(engine),
        Precision(precision),
        data or default_root(),
        say=lambda what: console.print(f"{what} …"),
        timing_caches=repository.root / PIPELINE if repository is not None else None,
    )
    parity = exported.parity
    console.print(
        f"{parity.engine}, {parity.precision}: disc Dice {parity.disc_dice:.5f}, largest difference of a grade's "
        f"probability {parity.probability:.2g}, {parity.severity_flips} of {parity.discs} severities differ",
        soft_wrap=True,
    )
    if report_to is not None:
        report.write(report_to, [parity], {**exported.trained.sources, **versions()})
        console.print(f"Report written to {escape(str(report_to))}", soft_wrap=True)
    require_limits(exported)
    if repository is not None:
        release = add_release(exported, repository)
        console.print(f"Release {release.number} written to {escape(str(repository.root))}.", soft_wrap=True)
        console.print(f"Serve it: discgrade models promote {release.number}")
