"""``discgrade train``: the two networks, on a data set of yours."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from discgrade._command import reported, suite

if TYPE_CHECKING:
    from training.data import DataSet
    from training.runs import Patients

__all__ = ["ADVICE", "Data", "DeviceOption", "DeviceSetting", "Layout", "LayoutOption", "Seed", "opened", "train"]

ADVICE = "pip install 'discgrade[train]'."

train = typer.Typer(help="Train the networks; an interrupted run goes on where it was.", no_args_is_help=True)


class LayoutOption(StrEnum):
    """How a folder of images, masks and gradings is laid out."""

    AUTO = "auto"
    SPIDER2D = "spider2d"
    SPIDER = "spider"


class DeviceOption(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the data set (docs/training.md); by default $DISCGRADE_DATA.", envvar="DISCGRADE_DATA"
    ),
]
Layout = Annotated[LayoutOption, typer.Option(help="Of that folder; auto looks.")]
DeviceSetting = Annotated[DeviceOption, typer.Option(help="auto takes a GPU where there is one.")]
Run = Annotated[Path, typer.Option(help="Folder of the run; one that is there is gone on with.")]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings; by default that of the served networks.")]
Folds = Annotated[int, typer.Option(help="Into how many groups the patients are split.", min=2)]
Fold = Annotated[int, typer.Option(help="Which group is held out, from 0.", min=0)]
Everyone = Annotated[bool, typer.Option("--everyone", help="Hold nobody out, for networks to be served.")]
Seed = Annotated[int, typer.Option(help="Of the split into groups.")]


def opened(data: Path | None, layout: LayoutOption) -> DataSet:
    """Open the data set that the options name."""
    from training.data import Layout, default_root, open_data

    return open_data(data or default_root(), Layout(layout.value))


def _patients(data: DataSet, seed: int, folds: int, fold: int, everyone: bool) -> Patients:
    from training.runs import select_patients

    return select_patients(data, seed, folds, fold, everyone=everyone)


@train.command()
def segmentation(
    run: Run,
    data: Data = None,
    layout: Layout = LayoutOption.AUTO,
    config: Config = None,
    folds: Folds = 5,
    fold: Fold = 0,
    everyone: Everyone = False,
    seed: Seed = 2026,
    device: DeviceSetting = DeviceOption.AUTO,
) -> None:
    """Train the segmenter on the masked series of all patients that are not held out."""
    with reported(), suite(ADVICE):
        from training.config import CONFIGS, SegmentationConfig, read_config
        from training.device import Device
        from training.runs import record
        from training.segmentation import train_segmentation

        settings = read_config(SegmentationConfig, config or CONFIGS / "segmentation.toml")
        source = opened(data, layout)
        patients = _patients(source, seed, folds, fold, everyone)
        record(run, "segmentation", settings, patients.training)
        made = train_segmentation(source, patients.training, patients.held_out, run, settings, Device(device.value))
    Console(highlight=False).print(f"Segmenter: {made}", soft_wrap=True)


@train.command()
def grading(
    run: Run,
    segmenter: Annotated[
        Path | None, typer.Option(help="Run whose segmenter finds the discs; by default this run's own.")
    ] = None,
    data: Data = None,
    layout: Layout = LayoutOption.AUTO,
    config: Config = None,
    folds: Folds = 5,
    fold: Fold = 0,
    everyone: Everyone = False,
    seed: Seed = 2026,
    device: DeviceSetting = DeviceOption.AUTO,
) -> None:
    """Train the graders on the discs that the segmenter finds in all patients that are not held out."""
    with reported(), suite(ADVICE):
        from training.config import CONFIGS, GradingConfig, read_config
        from training.device import Device
        from training.grading import train_grading
        from training.runs import record, segmenter_checkpoint

        settings = read_config(GradingConfig, config or CONFIGS / "grading.toml")
        finder = segmenter_checkpoint(segmenter or run)
        source = opened(data, layout)
        patients = _patients(source, seed, folds, fold, everyone)
        record(run, "grading", settings, patients.training)
        made = train_grading(source, patients.training, finder, run, settings, Device(device.value))
    Console(highlight=False).print(f"Graders: {made}", soft_wrap=True)


@train.command()
def publish(
    run: Annotated[Path, typer.Argument(help="Folder of a training run with both networks.")],
    to: Annotated[Path, typer.Argument(help="Folder that gets their weights.")],
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Fit temperatures to predictions.json.gz of discgrade evaluate --folds, same settings."),
    ] = None,
) -> None:
    """Write a run's weights without what only its training needs, to be exported or committed."""
    with reported(), suite(ADVICE):
        from training.publish import publish as write

        temperatures = write(run, to, calibrate)
    shown = ", ".join(f"{head} {value}" for head, value in temperatures.items()) or "none"
    Console(highlight=False).print(f"Weights written to {to}; temperatures: {shown}", soft_wrap=True)
