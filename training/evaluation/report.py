"""Model cards: every figure, plot and picture of them from weights, data and recorded predictions."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import torch
from matplotlib.figure import Figure as Canvas

from discgrade.errors import UnreadableFile
from discgrade.result import DISCLAIMER
from training.config import Match
from training.data import DataSet
from training.device import Compute, Device
from training.evaluation import gallery, plots
from training.evaluation.ceiling import Ceiling, ceiling
from training.evaluation.figures import evaluate
from training.evaluation.held_out import judge
from training.evaluation.protocol import Comparison, compare
from training.evaluation.rows import SeriesRow, read_rows
from training.evaluation.summary import Figures
from training.evaluation.table import discs_of
from training.grading import read_checkpoint
from training.runs import grader_checkpoint, segmenter_checkpoint
from training.segmentation import segmenter
from training.segmentation.segment import read_segmenter

__all__ = ["FOLDS_FILE", "HISTORY_FILE", "RECORDED", "Recorded", "histories", "read_recorded", "record", "write_report"]

RECORDED = "recorded"
"""Folder of a run with what long trainings answered; small, so it can be committed beside the weights."""
FOLDS_FILE = "cross_validation.json.gz"
HISTORY_FILE = "history.json"
_TEMPLATES = Path(__file__).parent
_RATERS = (0.6, 0.7, 0.8)
"""Cohen's κ of two readers, and of one reader twice, in the literature (Niemeyer et al., Invest Radiol 56:78, 2021)."""
_CARDS = ("disc_segmentation.md", "disc_grading.md", "evaluation.md")


@dataclass(frozen=True)
class Recorded:
    """Answers of networks that were trained for evaluation alone.

    Attributes:
        folds: Out of fold, for every patient; empty where it was not run.
        shares: The same by share of the training patients.
        seeds: Of the reference study's protocol, by seed.
        histories: Loss and validation figures by step, by network.
    """

    folds: Sequence[SeriesRow] = ()
    shares: Mapping[float, Sequence[SeriesRow]] = field(default_factory=dict)
    seeds: Mapping[int, Sequence[SeriesRow]] = field(default_factory=dict)
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def read_recorded(folder: Path) -> Recorded:
    """Read what ``discgrade evaluate --record`` wrote; nothing of it must be there.

    Raises:
        UnreadableFile: A file is something else.
    """
    folds, history = folder / FOLDS_FILE, folder / HISTORY_FILE
    try:
        kept = json.loads(history.read_text()) if history.is_file() else {}
    except ValueError as error:
        raise UnreadableFile(f"{history.name} holds no history.", "Record it again.") from error
    return Recorded(
        read_rows(folds) if folds.is_file() else (),
        {int(number) / 100: read_rows(path) for path, number in _numbered(folder, "share")},
        {int(number): read_rows(path) for path, number in _numbered(folder, "seed")},
        kept,
    )


def _numbered(folder: Path, word: str) -> list[tuple[Path, str]]:
    matches = ((path, re.fullmatch(rf"{word}(\d+)\.json\.gz", path.name)) for path in folder.glob(f"{word}*.json.gz"))
    return sorted((path, match[1]) for path, match in matches if match)


def histories(run: Path) -> dict[str, Any]:
    """Loss and validation figures by step of every training whose checkpoint lies in a folder."""
    found = {}
    for path in sorted([*run.rglob("checkpoint.pt"), *run.rglob("member*.pt")]):
        history = torch.load(path, weights_only=True, map_location="cpu").get("history")
        if history:
            name = path.parent if path.name == "checkpoint.pt" else path.with_suffix("")
            found[name.relative_to(run).as_posix()] = history
    return found


def write_report(
    data: DataSet, run: Path, to: Path, *, recorded: Recorded, match: Match = "level", device: Device = Device.AUTO
) -> dict[str, Any]:
    """Judge a run on its held-out patients, and write figures, plots, pictures and model cards.

    Args:
        data: The data set.
        run: Folder of the run, such as ``training/weights``.
        to: Folder for ``figures.json``, ``*.png`` and the cards.
        recorded: What was recorded of longer trainings.
        match: How discs are paired with gradings.
        device: Where to compute.

    Returns:
        What ``figures.json`` holds.
    """
    rows = judge(data, run, device, match)
    held_out = evaluate(rows)
    folds = evaluate(recorded.folds) if recorded.folds else None
    protocol = compare(recorded.seeds) if recorded.seeds else {}
    curve = {share: evaluate(kept) for share, kept in recorded.shares.items()}
    if folds is not None and curve:
        curve[1.0] = folds
    best = recorded.folds or rows
    truth = discs_of(best).truth.get("pfirrmann", ())
    bounds = [ceiling(truth, kappa) for kappa in _RATERS] if len(set(truth)) == 5 else []
    content: dict[str, Any] = {
        "weights": _digests(run),
        "held_out": held_out.model_dump(),
        "cross_validation": None if folds is None else folds.model_dump(),
        "protocol": {name: one.model_dump() for name, one in protocol.items()},
        "ceilings": [one.model_dump() for one in bounds],
        "learning_curve": {str(share): one.grading["all"].model_dump() for share, one in sorted(curve.items())},
    }
    to.mkdir(parents=True, exist_ok=True)
    (to / "figures.json").write_text(json.dumps(content, indent=1) + "\n")
    segment = segmenter(segmenter_checkpoint(run), Compute.choose(device).device)
    # Graders of a share saw four fifths of it: the folds are five.
    by_size = {round(share * 0.8 * (folds or held_out).patients): one for share, one in sorted(curve.items())}
    pictures = _plots(best, folds or held_out, recorded, by_size) | {
        "gallery_outlines": gallery.outlines(data, rows, segment),
        "gallery_observer": gallery.observed(data, rows, segment),
        "gallery_names": gallery.namings(data, rows, segment),
        "gallery_grades": gallery.gradings(data, discs_of(rows), segment, match) if held_out.grading else None,
    }
    for name, canvas in pictures.items():
        if canvas is not None:
            plots.save(canvas, to / f"{name}.png", photographs=name.startswith("gallery"))
    shown = {name for name, one in pictures.items() if one is not None}
    _write_cards(data, run, to, held_out, folds, protocol, bounds, by_size, shown)
    return content


def _plots(
    rows: Sequence[SeriesRow], figures: Figures, recorded: Recorded, by_size: Mapping[int, Figures]
) -> dict[str, Canvas | None]:
    discs = discs_of(rows)
    graded = "all" in figures.grading
    sizes = {
        size: (one.grading["all"].severity["accuracy"], one.grading["all"].pfirrmann["quadratic_kappa"])
        for size, one in by_size.items()
    }
    return {
        "roc": plots.roc(discs, figures.grading["all"].severity_auc) if graded else None,
        "confusion": plots.confusions(discs) if graded else None,
        "calibration": plots.calibration(discs) if graded else None,
        "height": plots.bland_altman(rows) if figures.segmentation else None,
        "training": plots.training_curve(recorded.histories) if recorded.histories else None,
        "learning_curve": plots.data_curve(sizes) if len(sizes) > 1 else None,
    }


def _digests(run: Path) -> dict[str, str]:
    paths = (segmenter_checkpoint(run), grader_checkpoint(run))
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _write_cards(
    data: DataSet,
    run: Path,
    to: Path,
    held_out: Figures,
    folds: Figures | None,
    protocol: Mapping[str, Comparison],
    bounds: Sequence[Ceiling],
    by_size: Mapping[int, Figures],
    pictures: set[str],
) -> None:
    segmentation, grader = read_segmenter(segmenter_checkpoint(run)), read_checkpoint(grader_checkpoint(run))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    facts = {
        "disclaimer": DISCLAIMER,
        "held_out": held_out,
        "folds": folds,
        "figures": folds or held_out,
        "judged": "out of fold" if folds is not None else "on the held-out patients",
        "protocol": protocol,
        "bounds": bounds,
        "curve": by_size,
        "pictures": pictures,
        "attribution": gallery.ATTRIBUTION,
        "patients": len(data.patients),
        "masked_patients": len({series.patient for series in data.masked}),
        "sequences": sorted({series.sequence for series in data.masked}),
        "widths": segmentation.network.widths,
        "segmenter_parameters": sum(one.numel() for one in segmentation.parameters()),
        "form": grader.form,
        "members": len(grader.networks),
        "grader_parameters": sum(one.numel() for one in grader.parameters()) // len(grader.networks),
        "temperatures": grader.temperatures,
    }
    for name in _CARDS:
        (to / name).write_text(environment.get_template(f"{name}.j2").render(facts))


def record(run: Path, to: Path, *, protocol: bool) -> list[Path]:
    """Copy what a long evaluation answered, and the histories of its trainings, to where reports look.

    Args:
        run: Folder of ``discgrade evaluate --folds`` or ``--protocol``.
        to: Usually ``recorded`` in the folder of the weights.
        protocol: Which of the two.
    """
    to.mkdir(parents=True, exist_ok=True)
    sources = {path.name: path for path in run.glob("seed*.json.gz" if protocol else "share*.json.gz")}
    if not protocol:
        sources[FOLDS_FILE] = run / "predictions.json.gz"
        (to / HISTORY_FILE).write_text(json.dumps(_rounded(histories(run)), indent=1) + "\n")
    for name, path in sources.items():
        shutil.copyfile(path, to / name)
    return [to / name for name in sorted(sources)]


def _rounded(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The histories of segmenters, with four digits."""
    return {
        name: [
            {
                "step": one["step"],
                "loss": round(one["loss"], 4),
                "validation": {key: round(value, 4) for key, value in one["validation"].items()},
            }
            for one in history
        ]
        for name, history in kept.items()
        if "grading" not in name
    }
