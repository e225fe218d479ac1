"""The report of a run, in words made of its figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.race.results import Results
from benchmarks.tables import table

__all__ = ["Verdict", "report", "verdicts"]

_LATENCY_RATIO = 1.15
_THROUGHPUT_RATIO = 3.0
_LINEAR = 0.98  # of R², from four slices on
_BARE = ("b", "b, INT8", "b, served engine", "b, region")
_FLAT = 1.05  # last quarter over second quarter


class Verdict:
    """A target beside what was measured.

    Args:
        target: In words.
        measured: In words.
        met: Whether it is.
    """

    def __init__(self, target: str, measured: str, met: bool) -> None:
        self.target, self.measured, self.met = target, measured, met


def verdicts(results: Results) -> list[Verdict]:
    """Hold a run against the targets."""
    p50 = {key: float(np.median(times)) for key, times in results.latency_ms.items()}
    clients = max(results.throughput)
    rates = results.throughput[clients]
    ratio, faster = p50["a"] / p50["b"], rates["a"] / rates["c"]
    slope, first, linear = _line({n: one["a"] for n, one in results.slices_ms.items() if n >= 4})
    growth = _growth(results.memory)
    return [
        Verdict(
            f"one study: (a) ≤ {_LATENCY_RATIO} × (b), p50",
            f"{p50['a']:.0f} / {p50['b']:.0f} ms = {ratio:.2f}; beside (b, INT8) {p50['a'] / p50['b, INT8']:.2f}, "
            f"beside what is really computed, (b, region), {p50['a'] / p50['b, region']:.2f}",
            ratio <= _LATENCY_RATIO,
        ),
        Verdict(
            f"{clients} clients: throughput of (a) ≥ {_THROUGHPUT_RATIO:g} × (c)",
            f"{rates['a']:.2f} / {rates['c']:.2f} a second = {faster:.2f}",
            faster >= _THROUGHPUT_RATIO,
        ),
        Verdict(
            "time is linear in slices",
            f"{slope:.1f} ms a slice and {first:.0f} ms, R² {linear:.3f}",
            linear >= _LINEAR,
        ),
        Verdict(
            "memory is flat",
            ", ".join(f"{name} × {factor:.3f}" for name, factor in growth.items())
            + " from the second to the last quarter",
            max(growth.values()) <= _FLAT,
        ),
    ]


def report(results: Results, plots: Sequence[Path]) -> str:
    """Write the report as Markdown.

    Args:
        results: Of the run.
        plots: Relative to the report.
    """
    p50 = {key: float(np.median(times)) for key, times in results.latency_ms.items()}
    slices, _, height, width = results.grid
    latency, throughput, size, memory = (f"![{plot.stem}]({plot.as_posix()})" for plot in plots)
    clients = list(results.throughput)
    sections = [
        "# discgrade beside its peers",
        "Made by `make bench`: all contenders up at once on one machine, asked in turn: what slows one slows all.",
        f"A phantom study of {slices} slices ({results.bytes / 1e6:.1f} MB of DICOM), "
        f"{slices} × {height} × {width} on the networks' grid. "
        + "; ".join(f"{key}: {value}" for key, value in results.machine.items())
        + ".",
        table(("", "contender"), ((f"({key})", what) for key, what in results.contenders.items())),
        "All that answer found the same discs; the run fails otherwise. Why it costs what it costs: "
        "[docs/performance.md](../docs/performance.md).",
        "## Targets",
        table(
            ("target", "measured", "met"),
            ((one.target, one.measured, "yes" if one.met else "**no**") for one in verdicts(results)),
        ),
        "## One study at a time",
        table(
            ("", "p50, ms", "p95, ms", *(f"p50 / ({other})" for other in _BARE)),
            (
                (
                    f"({key})",
                    f"{p50[key]:.0f}",
                    f"{np.percentile(times, 95):.0f}",
                    *(f"{p50[key] / p50[other]:.2f}" for other in _BARE),
                )
                for key, times in results.latency_ms.items()
            ),
        ),
        latency,
        f"{len(results.latency_ms['a'])} rounds. Inside (a), medians: "
        + ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in results.stages_ms.items())
        + ". Triton, means: "
        + ", ".join(f"`{name}` {ms:.0f} ms" for name, ms in results.triton_ms.items())
        + ".",
        "## Several at a time",
        table(
            ("studies a second", *(f"{count} clients" for count in clients), f"(a) / this at {clients[-1]}"),
            (
                (
                    f"({key})",
                    *(f"{results.throughput[count][key]:.2f}" for count in clients),
                    f"{results.throughput[clients[-1]]['a'] / results.throughput[clients[-1]][key]:.2f}",
                )
                for key in results.throughput[clients[0]]
            ),
        ),
        throughput,
        "## Size of the study",
        size,
        *(
            table((what, *(f"({key})" for key in next(iter(found.values())))), _rows(found))
            for what, found in (
                ("slices", results.slices_ms),
                ("rows and columns, one field of view", results.matrix_ms),
                ("field of view, mm", results.field_ms),
            )
        ),
        "Medians in milliseconds.",
        "## Memory",
        memory,
        f"{int(results.memory['studies'][-1])} small studies by four clients, MiB resident: "
        + ", ".join(
            f"{name} {results.memory[name][0]:.0f} after the first ones, {results.memory[name][-1]:.0f} at the end"
            for name in ("server", "triton")
        )
        + " (tritonserver's processes share memory, which is counted in each of them).",
    ]
    return "\n\n".join(sections) + "\n"


def _rows(found: dict[int, dict[str, float]]) -> Iterable[tuple[str, ...]]:
    return ((str(size), *(f"{ms:.0f}" for ms in one.values())) for size, one in found.items())


def _line(found: dict[int, float]) -> tuple[float, float, float]:
    """Slope, value at zero, and coefficient of determination of the straight line through some points."""
    if len(found) < 2:
        return 0.0, next(iter(found.values())), 1.0
    x, y = np.array(list(found), dtype=float), np.array(list(found.values()))
    slope, first = np.polyfit(x, y, 1)
    rest, whole = float(((y - slope * x - first) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    return float(slope), float(first), 1 - rest / whole


def _growth(memory: dict[str, list[float]]) -> dict[str, float]:
    """Median of the last quarter over that of the second, by process."""
    quarter = max(1, len(memory["studies"]) // 4)
    return {
        name: float(np.median(memory[name][-quarter:]) / np.median(memory[name][quarter : 2 * quarter]))
        for name in ("server", "triton")
    }
