"""Plots of the model cards; colours that colour-blind readers can tell apart (Okabe & Ito, 2008)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from PIL import Image
from sklearn.metrics import roc_curve

from training.evaluation.bootstrap import Bootstrap
from training.evaluation.bootstrap import Figure as Measured
from training.evaluation.classification import confusion, reliability
from training.evaluation.rows import SeriesRow
from training.evaluation.summary import SEVERITIES
from training.evaluation.table import Discs

__all__ = ["COLOURS", "bland_altman", "calibration", "confusions", "data_curve", "roc", "save", "training_curve"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vP*"
_DPI = 110
_SHADES = 160
_ROMAN = ("I", "II", "III", "IV", "V")


def save(canvas: Canvas, path: Path, *, photographs: bool = False) -> None:
    """Write a PNG, the same bytes for the same plot.

    Args:
        canvas: What to draw.
        path: Of the file.
        photographs: Whether it shows many shades, of which fewer make a file a third as large.
    """
    drawn = BytesIO()
    canvas.savefig(drawn, dpi=_DPI, format="png")
    picture = Image.open(drawn).convert("RGB")
    if photographs:
        picture = picture.quantize(_SHADES, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)


def _canvas(width: float = 5.2, height: float = 4.4, columns: int = 1) -> tuple[Canvas, list[Axes]]:
    canvas = Canvas(figsize=(width * columns, height), layout="constrained")
    axes = [canvas.add_subplot(1, columns, index + 1) for index in range(columns)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def roc(discs: Discs, areas: Mapping[str, Measured]) -> Canvas:
    """ROC of each two severity classes, among discs of these two."""
    canvas, (axes,) = _canvas()
    probability, truth = discs.warm["severity"], discs.truth["severity"]
    for place, (better, worse) in enumerate(combinations(range(3), 2)):
        among = (truth == better) | (truth == worse)
        if len(set(truth[among].tolist())) < 2:
            continue
        score = probability[among, worse] / np.maximum(probability[among, better] + probability[among, worse], 1e-9)
        false, true, _ = roc_curve(truth[among] == worse, score)
        pair = f"{SEVERITIES[better]}/{SEVERITIES[worse]}"
        style = ("-", "--", "-.")[place]
        axes.plot(false, true, style, color=COLOURS[place], label=f"{pair}: {areas[pair]}")
    axes.plot([0, 1], [0, 1], ":", color="0.6", linewidth=1)
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", title=f"Severity, {len(discs)} discs", aspect="equal")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return canvas


def confusions(discs: Discs) -> Canvas:
    """Tables of graded against answered severity and Pfirrmann grade."""
    canvas, axes = _canvas(5.0, 4.4, 2)
    sample = Bootstrap(discs.patients)
    for one, head, names in zip(axes, ("severity", "pfirrmann"), (SEVERITIES, _ROMAN), strict=True):
        answer = discs.warm[head].argmax(1)
        table = confusion(sample, discs.truth[head], answer, len(names))[0].astype(int)
        share = table / np.maximum(table.sum(1, keepdims=True), 1)
        one.imshow(share, cmap="cividis", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(table):
            shade = "black" if share[row, column] > 0.5 else "white"
            one.text(
                column, row, f"{count}\n{share[row, column]:.0%}", ha="center", va="center", color=shade, fontsize=8
            )
        one.set(xlabel="answered", ylabel="graded", title=head if head == "severity" else "Pfirrmann")
        one.set_xticks(range(len(names)), names)
        one.set_yticks(range(len(names)), names)
        one.spines[:].set_visible(False)
    return canvas


def calibration(discs: Discs) -> Canvas:
    """Share of right answers by confidence, with and without temperature."""
    canvas, axes = _canvas(4.6, 4.4, 2)
    for one, head in zip(axes, ("severity", "pfirrmann"), strict=True):
        one.plot([0, 1], [0, 1], ":", color="0.6", linewidth=1)
        for place, (name, answers) in enumerate((("as trained", discs.cold), ("with temperature", discs.warm))):
            count, confidence, right = reliability(answers[head], discs.truth[head])
            shown = count > 0
            sizes = 12 + 180 * count[shown] / count.sum()
            style = ("--", "-")[place]
            one.plot(confidence[shown], right[shown], style, color=COLOURS[place], linewidth=1, label=name)
            one.scatter(
                confidence[shown], right[shown], s=sizes, color=COLOURS[place], marker=_MARKERS[place], alpha=0.8
            )
        title = "severity" if head == "severity" else "Pfirrmann"
        one.set(xlabel="confidence", ylabel="share right", title=title, xlim=(0.2, 1.02), ylim=(0, 1.05))
        one.legend(loc="upper left", frameon=False, fontsize=8)
    return canvas


def bland_altman(rows: Sequence[SeriesRow]) -> Canvas:
    """Height of discs, predicted and by the mask (Bland & Altman, Lancet 327:307, 1986)."""
    canvas, (axes,) = _canvas(5.6)
    pairs = np.array(
        [
            (disc.predicted_height_mm, disc.height_mm)
            for row in rows
            for disc in row.reference
            if disc.height_mm is not None and disc.predicted_height_mm is not None and not disc.cut
        ]
    ).reshape(-1, 2)
    mean, gap = pairs.mean(1), pairs[:, 0] - pairs[:, 1]
    axes.scatter(mean, gap, s=14, color=COLOURS[0], alpha=0.6)
    if len(gap) > 1:
        bias, spread = float(gap.mean()), 1.96 * float(gap.std(ddof=1))
        for value, style in ((bias, "-"), (bias - spread, "--"), (bias + spread, "--")):
            axes.axhline(value, linestyle=style, color=COLOURS[1], linewidth=1)
            axes.annotate(
                f"{value:+.2f}", (1.0, value), xycoords=("axes fraction", "data"), fontsize=8, va="bottom", ha="right"
            )
    axes.set(
        xlabel="mean of both heights, mm",
        ylabel="predicted − mask, mm",
        title=f"Disc height, {len(gap)} discs: bias and 95 % limits of agreement",
    )
    return canvas


def training_curve(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Canvas:
    """Loss and, where it was measured, Dice on validation patients, by step; a colour a stage, a line a fold."""
    canvas, axes = _canvas(5.0, 4.0, 2)
    stages = sorted({name.rpartition("/")[2] for name in histories})
    shown: set[str] = set()
    for name, history in sorted(histories.items()):
        stage = name.rpartition("/")[2]
        place = stages.index(stage)
        look: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "marker": _MARKERS[place % len(_MARKERS)],
            "markersize": 3,
        }
        label = None if stage in shown else stage
        shown.add(stage)
        axes[0].plot([one["step"] for one in history], [one["loss"] for one in history], label=label, **look)
        measured = [(one["step"], one["validation"]["disc_dice"]) for one in history if one["validation"]]
        if measured:
            axes[1].plot(*zip(*measured, strict=True), **look)
    axes[0].set(xlabel="step of the stage", ylabel="loss", title="training")
    axes[1].set(xlabel="step of the stage", ylabel="disc Dice, pooled", title="patients not learned from")
    axes[0].legend(frameon=False, fontsize=7)
    return canvas


def data_curve(curve: Mapping[int, tuple[Measured, Measured]]) -> Canvas:
    """Severity accuracy and Pfirrmann κ by number of training patients, out of fold."""
    canvas, (axes,) = _canvas(5.2, 4.0)
    patients = sorted(curve)
    labels = ("severity accuracy", "Pfirrmann quadratic κ")
    for place, label in enumerate(labels):
        points = [(count, curve[count][place]) for count in patients if curve[count][place].value is not None]
        values = np.array([figure.value for _, figure in points], float)
        ends = np.array([(figure.low or figure.value, figure.high or figure.value) for _, figure in points], float)
        axes.errorbar(
            [count * (1 + 0.01 * place) for count, _ in points],
            values,
            yerr=np.abs(ends.T - values),
            color=COLOURS[place],
            marker=_MARKERS[place],
            capsize=3,
            label=label,
        )
    axes.set(xlabel="training patients a fold", ylabel="out of fold, 95 % interval", title="More patients")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return canvas
