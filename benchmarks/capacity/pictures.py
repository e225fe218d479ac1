"""The pictures of docs/capacity.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from benchmarks.capacity.plan import Plan

__all__ = ["draw_costs", "draw_plans", "draw_validation"]

mpl.use("Agg")
_MEASURED, _PREDICTED = "#1f4e79", "#d1782a"


def draw_costs(kinds: Mapping[str, Any], path: Path) -> None:
    """Time and processor time of a study over its slices, and over its matrix."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    for axes, name, fixed in ((left, "slices", ("matrix", 448)), (right, "matrix", ("slices", 15))):
        runs = sorted((run for run in kinds.values() if run[fixed[0]] == fixed[1]), key=lambda run: float(run[name]))
        sizes = [run[name] for run in runs]
        axes.plot(sizes, [np.median(run["seconds"]) for run in runs], "o-", color=_MEASURED, label="until the answer")
        axes.plot(
            sizes,
            [np.mean(run["cpu_seconds"]) for run in runs],
            "s--",
            color=_PREDICTED,
            label="of a core, all processes",
        )
        axes.set_ylim(0)
        axes.set_ylabel("s a study")
        axes.grid(alpha=0.3)
    left.set_xlabel("slices of 448 × 448 pixels")
    right.set_xlabel("rows and columns of 15 slices, the same field of view")
    left.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_validation(runs: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], path: Path) -> None:
    """Distribution of the time until the answer, measured and predicted, of each run."""
    figure, grid = plt.subplots(1, len(runs), figsize=(2.6 * len(runs), 3.2), sharey=True, layout="constrained")
    for axes, (name, (measured, predicted)) in zip(grid, runs.items(), strict=True):
        for values, colour, label in ((measured, _MEASURED, "measured"), (predicted, _PREDICTED, "predicted")):
            axes.step(np.sort(values), np.linspace(0, 1, len(values)), where="post", color=colour, label=label)
        axes.set_title(name, fontsize=10)
        axes.set_xlim(0)
        axes.set_xlabel("s until the answer")
        axes.grid(alpha=0.3)
    grid[0].set_ylabel("share of the studies")
    grid[0].legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_plans(chosen: Sequence[Sequence[Plan]], path: Path) -> None:
    """Replicas, and what 1,000 studies cost, over the rate; a line for each kind of machine."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    for plans, colour in zip(chosen, (_MEASURED, _PREDICTED), strict=True):
        rates = [plan.rate for plan in plans]
        style = "o-" if plans[0].machine.measured else "s--"
        left.plot(rates, [plan.replicas for plan in plans], style, color=colour, label=plans[0].machine.name)
        right.plot(rates, [plan.a_thousand for plan in plans], style, color=colour, label=plans[0].machine.name)
    for axes, label in ((left, "replicas"), (right, "price of 1,000 studies, example prices")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("studies an hour, mean of a day")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3, which="both")
    left.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
