"""``discgrade evaluate``: how good a training run is, or how good its settings are."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from discgrade._command import reported, suite
from discgrade._train import ADVICE, Data, DeviceOption, DeviceSetting, Layout, LayoutOption, Seed, opened
from discgrade.errors import InvalidRequest

if TYPE_CHECKING:
    from training.config import GradingConfig, SegmentationConfig
    from training.evaluation.protocol import Comparison
    from training.evaluation.summary import Figures

__all__ = ["evaluate"]


class ProtocolOption(StrEnum):
    """How patients are split for a comparison."""

    REFERENCE = "reference"


class MatchOption(StrEnum):
    """How discs are paired with gradings."""

    COUNT = "count"
    LEVEL = "level"


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder of a training run, such as training/weights; with --folds or --protocol, of theirs."
        ),
    ],
    data: Data = None,
    layout: Layout = LayoutOption.AUTO,
    folds: Annotated[
        int | None, typer.Option(help="Train and judge with every patient held out once, in so many folds.", min=2)
    ] = None,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="With --folds: also graders on 25, 50 and 75 % of the patients.")
    ] = False,
    protocol: Annotated[
        ProtocolOption | None, typer.Option(help="Train and judge as the reference study did: 300, 72 and 94 discs.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Of the protocol.", min=1)] = 5,
    segmentation_config: Annotated[Path | None, typer.Option(help="TOML file of the segmenter's settings.")] = None,
    grading_config: Annotated[Path | None, typer.Option(help="TOML file of the graders' settings.")] = None,
    match: Annotated[
        MatchOption, typer.Option(help="Pair discs with gradings where counts agree, or also by level.")
    ] = MatchOption.LEVEL,
    report: Annotated[Path | None, typer.Option(help="Folder for figures.json, plots and model cards.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="With --folds or --protocol: keep the answers here, for --report.")
    ] = None,
    seed: Seed = 2026,
    device: DeviceSetting = DeviceOption.AUTO,
) -> None:
    """Judge a run on the patients it never saw, or train and judge.

    With --folds or --protocol both networks are trained, and an interrupted evaluation goes on where it was.
    """
    console = Console(highlight=False)
    with reported(), suite(ADVICE):
        if folds is not None and protocol is not None:
            raise InvalidRequest("--folds and --protocol exclude each other.", "Give one of them.")
        if report is not None and (folds is not None or protocol is not None):
            raise InvalidRequest("--report takes the folder of weights.", "Give --record now and --report afterwards.")
        if record is not None and folds is None and protocol is None:
            raise InvalidRequest("--record keeps what --folds or --protocol answered.", "Give one of them.")
        if learning_curve and folds is None:
            raise InvalidRequest("--learning-curve goes with --folds.", "Give both.")
        from training.device import Device
        from training.evaluation import cross_validation, figures, held_out, summary
        from training.evaluation import protocol as protocols
        from training.evaluation import report as reports

        source, where = opened(data, layout), Device(device.value)
        if folds is not None:
            settings = _settings(segmentation_config, grading_config)
            shares = (0.25, 0.5, 0.75) if learning_curve else ()
            answers = cross_validation.learning_curve(source, run, settings, shares, folds, seed, where)
            _show(console, figures.evaluate(answers[1.0]))
        elif protocol is not None:
            settings = _settings(segmentation_config, grading_config)
            drawn = protocols.run_protocol(source, run, settings, range(seeds), where)
            _show_protocol(console, protocols.compare(drawn))
        elif report is not None:
            kept = reports.read_recorded(run / reports.RECORDED)
            made = reports.write_report(source, run, report, recorded=kept, match=match.value, device=where)
            _show(console, summary.Figures.model_validate(made["held_out"]))
        else:
            _show(console, figures.evaluate(held_out.judge(source, run, where, match.value)))
        if record is not None:
            reports.record(run, record, protocol=protocol is not None)


def _settings(segmentation: Path | None, grading: Path | None) -> tuple[SegmentationConfig, GradingConfig]:
    from training.config import CONFIGS, GradingConfig, SegmentationConfig, read_config

    return (
        read_config(SegmentationConfig, segmentation or CONFIGS / "segmentation.toml"),
        read_config(GradingConfig, grading or CONFIGS / "grading.toml"),
    )


def _show(console: Console, figures: Figures) -> None:
    table = Table("figure", "patients", "value (95 % interval)")
    for name, masks in figures.segmentation.items():
        if name != "all" and not name.startswith("sequence"):
            continue
        table.add_row(f"disc Dice, {name}", str(masks.patients), str(masks.dice))
        table.add_row(f"disc IoU, {name}", str(masks.patients), str(masks.iou))
        table.add_row(f"HD95 in mm, {name}", str(masks.patients), str(masks.hd95_mm))
        table.add_row(f"ASSD in mm, {name}", str(masks.patients), str(masks.assd_mm))
    for name, naming in figures.naming.items():
        table.add_row(f"rightly named, {name}", str(naming.patients), str(naming.named))
        table.add_row(f"right count, {name}", str(naming.patients), str(naming.right_count))
    for name in ("all", "sequence: t2", "sequence: t2_SPACE"):
        if grading := figures.grading.get(name):
            people = str(grading.patients)
            for measure in ("accuracy", "sensitivity", "specificity", "f1"):
                table.add_row(f"severity {measure}, {name}", people, str(grading.severity[measure]))
            for pair, area in grading.severity_auc.items():
                table.add_row(f"AUC {pair}, {name}", people, str(area))
            table.add_row(f"Pfirrmann quadratic κ, {name}", people, str(grading.pfirrmann["quadratic_kappa"]))
            table.add_row(f"severity ECE, {name}", people, str(grading.severity_ece))
    for name, finding in figures.findings.items():
        table.add_row(f"AUC {name}", "", str(finding.auc))
    console.print(table)
    if figures.graded_series:
        console.print(f"{len(figures.unpaired)} of {figures.graded_series} graded series could not be paired.")


def _show_protocol(console: Console, comparison: Mapping[str, Comparison]) -> None:
    table = Table("measure", "reference study", "ours", "95 % interval of the mean")
    for name, one in comparison.items():
        theirs, ours = ("–" if value is None else f"{value:.3f}" for value in (one.theirs, one.ours))
        table.add_row(name, theirs, ours, "–" if one.low is None else f"{one.low:.3f}–{one.high:.3f}")
    console.print(table)
