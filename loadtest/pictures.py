"""Latency, rate and memory over time, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loadtest.phases import Phase
from loadtest.records import GRADE_ROUTES, JOB
from loadtest.server import Memory

__all__ = ["draw"]

_BIN_SECONDS = 5.0
# Okabe and Ito's colours, and markers of their own, so that outcomes differ without colour too.
_LOOKS = {
    "ok": ("graded while its sender waits", "#0072B2", "o"),
    "job": ("job, to its end", "#009E73", "^"),
    "refused": ("bad study, 4xx", "#CC79A7", "s"),
    "overloaded": ("told to come back, 503", "#D55E00", "x"),
    "limited": ("told to come back, 429", "#E69F00", "+"),
    "failed": ("failed", "#000000", "D"),
}


def draw(phases: Sequence[Phase], memory: Memory, path: Path) -> None:
    """Draw the phases, one after the other, into a PNG.

    Args:
        phases: At least one.
        memory: Of our own server; without samples that part is left out.
        path: The file.
    """
    parts = 3 if memory.at else 2
    figure = Figure(figsize=(12, 3.1 * parts), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(parts, 1, sharex=True))
    zero = phases[0].began
    _latencies(axes[0], phases, zero)
    _rates(axes[1], phases, zero)
    if memory.at:
        _memory(axes[2], memory, zero)
    for phase in phases:
        for axis in axes:
            axis.axvspan(phase.began - zero, phase.began - zero + phase.seconds, color="0.95", zorder=0)
        axes[0].text(phase.began - zero, 1.02, phase.name, transform=axes[0].get_xaxis_transform(), fontsize=9)
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=100)


def _latencies(axis: Axes, phases: Sequence[Phase], zero: float) -> None:
    points: dict[str, list[tuple[float, float]]] = {}
    for phase in phases:
        for record in phase.records:
            if record.route in (*GRADE_ROUTES, JOB) or (record.route == "POST /v1/jobs" and record.outcome != "ok"):
                look = "job" if record.route == JOB and record.outcome == "ok" else record.outcome
                points.setdefault(look, []).append((record.start - zero, record.seconds))
    for look, (label, colour, marker) in _LOOKS.items():
        if look in points:
            at, seconds = zip(*points[look], strict=True)
            axis.scatter(at, seconds, s=12, c=colour, marker=marker, label=label, linewidths=0.8)
    axis.set_yscale("log")
    axis.set_ylabel("latency from the\nstudy's arrival, s")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _rates(axis: Axes, phases: Sequence[Phase], zero: float) -> None:
    sent: list[float] = []
    ends: dict[str, list[float]] = {"done": [], "told to come back": []}
    for phase in phases:
        for record in phase.records:
            begins = record.route in (*GRADE_ROUTES, "POST /v1/jobs")
            if begins:
                sent.append(record.start - zero)
            end = record.start + record.seconds - zero
            if record.outcome in {"limited", "overloaded"} and begins:
                ends["told to come back"].append(end)
            elif record.outcome in {"ok", "refused"} and record.route in (*GRADE_ROUTES, JOB):
                ends["done"].append(end)
    last = max([*sent, *(time for times in ends.values() for time in times)])
    edges = np.arange(0.0, last + _BIN_SECONDS, _BIN_SECONDS)
    for label, times, colour, style in (
        ("sent or arrived", sent, "0.3", ":"),
        ("graded, or read and refused", ends["done"], "#0072B2", "-"),
        ("told to come back", ends["told to come back"], "#D55E00", "--"),
    ):
        counts, _ = np.histogram(times, edges)
        axis.stairs(counts / _BIN_SECONDS, edges, color=colour, linestyle=style, label=label, linewidth=1.4)
    axis.set_ylabel("studies a second")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _memory(axis: Axes, memory: Memory, zero: float) -> None:
    at = np.asarray(memory.at) - zero
    shown = at >= 0
    for label, values, colour, style in (
        ("gateway", memory.gateway, "#0072B2", "-"),
        ("tritonserver", memory.triton, "#009E73", "--"),
        ("its Python processes", memory.stubs, "#D55E00", ":"),
    ):
        axis.plot(at[shown], np.asarray(values)[shown], color=colour, linestyle=style, label=label, linewidth=1.4)
    axis.set_ylabel("resident memory, MiB")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
