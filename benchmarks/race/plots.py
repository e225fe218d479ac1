"""The report's plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.race.results import Results

__all__ = ["draw"]

_COLOURS = ("#1b6ca8", "#6aa9d8", "#555555", "#707070", "#8c8c8c", "#bdbdbd", "#c0392b", "#d68910", "#1e8449")


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw what a run found.

    Args:
        results: Of the run.
        folder: Where the PNG files go.

    Returns:
        The files, in the order of the report.
    """
    matplotlib.use("Agg")
    colours = dict(zip(results.contenders, _COLOURS, strict=True))
    drawn = []
    for name, plot in {"latency": _latency, "throughput": _throughput, "size": _size, "memory": _memory}.items():
        figure, axes = pyplot.subplots(
            1, 3 if name == "size" else 1, figsize=(11 if name == "size" else 8, 3.6), squeeze=False
        )
        plot(list(axes[0]), results, colours)
        figure.tight_layout()
        drawn.append(folder / f"race-{name}.png")
        figure.savefig(drawn[-1], dpi=110)
        pyplot.close(figure)
    return drawn


def _latency(axes: list[Axes], results: Results, colours: Mapping[str, str]) -> None:
    (axis,) = axes
    keys = list(reversed(results.latency_ms))
    boxes = axis.boxplot(
        [results.latency_ms[key] for key in keys], orientation="horizontal", patch_artist=True, widths=0.6
    )
    for key, box in zip(keys, boxes["boxes"], strict=True):
        box.set_facecolor(colours[key])
    axis.set_yticks(range(1, len(keys) + 1), [f"({key})" for key in keys])
    axis.set_xlim(left=0)
    axis.set_xlabel("ms for one study at a time: median, quartiles, range")


def _throughput(axes: list[Axes], results: Results, colours: Mapping[str, str]) -> None:
    (axis,) = axes
    clients = list(results.throughput)
    keys = list(results.throughput[clients[0]])
    width = 0.8 / len(keys)
    for place, key in enumerate(keys):
        at = np.arange(len(clients)) + (place - (len(keys) - 1) / 2) * width
        axis.bar(at, [results.throughput[count][key] for count in clients], width, label=f"({key})", color=colours[key])
    axis.set_xticks(range(len(clients)), [str(count) for count in clients])
    axis.set_xlabel("clients at once")
    axis.set_ylabel("studies a second")
    axis.legend(ncols=3, fontsize="small")


def _size(axes: list[Axes], results: Results, colours: Mapping[str, str]) -> None:
    for axis, (found, what) in zip(
        axes,
        (
            (results.slices_ms, "slices"),
            (results.matrix_ms, "rows and columns, one field of view"),
            (results.field_ms, "field of view, mm, one size of pixels"),
        ),
        strict=True,
    ):
        for key in next(iter(found.values())):
            axis.plot(
                list(found), [one[key] for one in found.values()], "o-", label=f"({key})", color=colours[key], ms=3
            )
        axis.set_ylim(bottom=0)
        axis.set_xlabel(what)
    axes[0].set_ylabel("ms, median")
    axes[0].legend(fontsize="small")


def _memory(axes: list[Axes], results: Results, colours: Mapping[str, str]) -> None:
    (axis,) = axes
    for name, colour in (("server", _COLOURS[0]), ("triton", _COLOURS[-1])):
        axis.plot(results.memory["studies"], results.memory[name], "o-", label=name, color=colour, ms=3)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("studies graded")
    axis.set_ylabel("resident memory, MiB")
    axis.legend(loc="center right")
