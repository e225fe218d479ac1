"""Panels and dashboards as discgrade has them: one style, one data source, one namespace variable."""

from __future__ import annotations

from typing import NamedTuple

from grafana_foundation_sdk.builders import bargauge, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

__all__ = [
    "HERE",
    "PanelBuilder",
    "Query",
    "bars",
    "dashboard",
    "last",
    "lines",
    "number",
    "quantile",
    "quantiles",
    "rate",
]

HERE = 'namespace=~"$namespace"'
"""Of every selector: the namespaces chosen above the dashboard."""
_SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
_WIDTH = 24
_HEIGHT = 8

PanelBuilder = Builder[model.Panel]


class Query(NamedTuple):
    """One query of a panel.

    Attributes:
        expr: PromQL.
        legend: Name of its series, with ``{{label}}``.
    """

    expr: str
    legend: str


def rate(metric: str, labels: str = "", by: str = "") -> str:
    """What a counter grows by a second, added up.

    Args:
        metric: Its name.
        labels: More of its selector.
        by: The labels kept.
    """
    return f"sum by ({by}) (rate({metric}{{{_selector(labels)}}}[$__rate_interval]))"


def quantile(share: float, metric: str, labels: str = "", by: str = "") -> str:
    """A quantile of a histogram; arguments as of :func:`rate`."""
    kept = ", ".join(part for part in ("le", by) if part)
    return f"histogram_quantile({share:g}, {rate(f'{metric}_bucket', labels, kept)})"


def last(metric: str, window: str, labels: str = "", by: str = "") -> str:
    """What a counter grew by within a window; other arguments as of :func:`rate`."""
    return f"sum by ({by}) (increase({metric}{{{_selector(labels)}}}[{window}]))"


def quantiles(metric: str, labels: str = "") -> list[Query]:
    """Half, 95 % and 99 % of a histogram; arguments as of :func:`rate`."""
    return [Query(quantile(share, metric, labels), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]


def lines(title: str, what: str, unit: str, *queries: Query, stacked: bool = False, width: int = 12) -> PanelBuilder:
    """Series over time.

    Args:
        title: The panel's.
        what: What it shows and what to make of it.
        unit: Grafana's name of the unit.
        queries: What is shown.
        stacked: Whether series are added up.
        width: Of 24.
    """
    panel = timeseries.Panel().title(title).description(what).datasource(_SOURCE).unit(unit).min(0)
    panel = panel.span(width).height(_HEIGHT).fill_opacity(30 if stacked else 5).line_width(1)
    panel = panel.legend(
        VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    )
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    for query in _targets(queries):
        panel = panel.with_target(query)
    return panel


def number(title: str, what: str, unit: str, query: Query, width: int = 6) -> PanelBuilder:
    """One number, as it is now; arguments as of :func:`lines`."""
    panel = stat.Panel().title(title).description(what).datasource(_SOURCE).unit(unit).span(width).height(4)
    return panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"])).with_target(*_targets([query]))


def bars(title: str, what: str, unit: str, query: Query, width: int = 12) -> PanelBuilder:
    """One bar a series, as it is now; arguments as of :func:`lines`."""
    panel = bargauge.Panel().title(title).description(what).datasource(_SOURCE).unit(unit).min(0)
    panel = panel.span(width).height(_HEIGHT).reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.with_target(*_targets([query], instant=True))


def dashboard(title: str, uid: str, what: str, rows: dict[str, list[PanelBuilder]]) -> model.Dashboard:
    """A dashboard.

    Args:
        title: Its name.
        uid: Its address in Grafana.
        what: Whom it is for.
        rows: Title to panels, from left to right, wrapped.
    """
    made = Dashboard(f"discgrade: {title}").uid(uid).description(what).tags(["discgrade"]).readonly()
    made = made.refresh("30s").time("now-6h", "now").timezone("browser")
    made = made.with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made = made.with_variable(
        QueryVariable("namespace")
        .label("Namespace")
        .datasource(_SOURCE)
        .query("label_values(process_start_time_seconds, namespace)")
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )
    for name, panels in rows.items():
        made = made.with_row(Row(name))
        for panel in panels:
            made = made.with_panel(panel)
    built = made.build()
    for index, placed in enumerate(built.panels or [], start=1):
        placed.id_val = index
    return built


def _targets(queries: tuple[Query, ...] | list[Query], *, instant: bool = False) -> list[Dataquery]:
    targets = []
    for index, query in enumerate(queries):
        target = Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index))
        targets.append(target.instant() if instant else target.range())
    return targets


def _selector(labels: str) -> str:
    return ",".join(part for part in (HERE, labels) if part)
