"""What was asked and answered, as a page, and the panels as a picture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from tests.monitoring.live.prometheus import Prometheus
from tests.monitoring.live.queries import Asked, panel_queries

__all__ = ["page", "picture"]

mpl.use("Agg")


def page(asked: Iterable[Asked], seconds: float) -> str:
    """A Markdown page with a row a query."""
    rows = list(asked)
    lost = [row for row in rows if not row.ok]
    lines = [
        "# Queries of dashboards and rules",
        "",
        f"{len(rows)} queries, asked of a Prometheus that scraped a gateway with its worker and tritonserver, and a "
        f"DICOM node, for {seconds:.0f} s under a small load; {len(lost)} without an answer. Of a rule or panel: "
        "how many series come back, and one of the values (NaN: the series is there, nothing was observed yet). Of an "
        "alert: it was evaluated, every metric it is about has series, and how many alerts it raises.",
        "",
        "| where | what | series | value |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        count = f"{row.series}" if row.where != "alert" else ("all" if row.ok else f"{row.series} metrics missing")
        value = "NaN" if math.isnan(row.value) else f"{row.value:.4g}"
        lines.append(f"| {row.where} | {row.title} | {count} | {value} |")
    return "\n".join(lines) + "\n"


def picture(prometheus: Prometheus, board: str, path: Path, seconds: float) -> None:
    """Draw a dashboard's panels from the data: Grafana's own drawing needs Grafana.

    Args:
        prometheus: Holds the data.
        board: File name of the dashboard, without its end.
        path: The PNG.
        seconds: How far back.
    """
    panels: dict[str, list[tuple[str, str]]] = {}
    for where, title, legend, expression in panel_queries():
        if where == board:
            panels.setdefault(title, []).append((legend, expression))
    columns = 3
    figure, axes = plt.subplots(
        -(-len(panels) // columns), columns, figsize=(18, 3.2 * -(-len(panels) // columns)), squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (title, queries) in zip(axes.flat, panels.items(), strict=False):
        for legend, expression in queries:
            for series in prometheus.query_range(expression, seconds):
                start = float(series["values"][0][0])
                name = legend
                for label, value in series["metric"].items():
                    name = name.replace("{{" + label + "}}", value)
                name = re.sub(r"\{\{\w+\}\}", "", name).strip() or title
                axis.plot(
                    [float(at) - start for at, _ in series["values"]],
                    [float(value) for _, value in series["values"]],
                    label=name,
                    linewidth=1,
                )
        axis.set_title(title, fontsize=10)
        axis.set_ylim(0, axis.get_ylim()[1] * 1.1)
        axis.tick_params(labelsize=7)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=6, loc="upper left")
    figure.suptitle(f"discgrade: {board} (drawn from the panels' queries; seconds)", fontsize=12)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=70)
    plt.close(figure)
