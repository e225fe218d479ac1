"""The DICOM node: what comes in, and what it still owes."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.panels import HERE, Query, dashboard, lines, rate

__all__ = ["node"]


def node() -> Dashboard:
    """Make the dashboard."""
    return dashboard(
        "DICOM node",
        "discgrade-node",
        "Between scanners or PACS and the gateway.",
        {
            "In": [
                lines(
                    "Objects received",
                    "By outcome.",
                    "ops",
                    Query(rate("discgrade_node_instances_total", by="outcome"), "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Associations",
                    "By caller and outcome.",
                    "ops",
                    Query(rate("discgrade_node_associations_total", by="caller, outcome"), "{{caller}} {{outcome}}"),
                ),
                lines(
                    "Studies",
                    "Closed: complete as far as can be told; held: their sending was cut off.",
                    "ops",
                    Query(rate("discgrade_node_studies_total", by="event"), "{{event}}"),
                ),
                lines(
                    "Studies on disk",
                    "By state.",
                    "short",
                    Query(f"sum by (state) (discgrade_node_revisions{{{HERE}}})", "{{state}}"),
                ),
            ],
            "Graded": [
                lines(
                    "Studies that ended",
                    "By outcome.",
                    "ops",
                    Query(rate("discgrade_node_graded_total", by="outcome"), "{{outcome}}"),
                ),
                lines(
                    "Calls of the gateway that failed",
                    "Studies wait meanwhile.",
                    "ops",
                    Query(f"{rate('discgrade_node_gateway_failures_total', by='problem')} or vector(0)", "{{problem}}"),
                ),
            ],
            "Out": [
                lines(
                    "Outbox",
                    "Objects that wait, and those refused for good.",
                    "short",
                    Query(
                        f"sum by (destination, state) (discgrade_node_outbox{{{HERE}}})", "{{destination}} {{state}}"
                    ),
                ),
                lines(
                    "Oldest that waits",
                    "",
                    "s",
                    Query(f"max by (destination) (discgrade_node_outbox_oldest_seconds{{{HERE}}})", "{{destination}}"),
                ),
                lines(
                    "Deliveries",
                    "Attempts by outcome.",
                    "ops",
                    Query(
                        f"{rate('discgrade_node_deliveries_total', by='destination, outcome')} or vector(0)",
                        "{{destination}} {{outcome}}",
                    ),
                ),
                lines(
                    "Free space",
                    "Below the least it is told to leave, nothing is taken.",
                    "bytes",
                    Query(f"discgrade_node_free_bytes{{{HERE}}}", "{{instance}}"),
                ),
            ],
        },
    )
