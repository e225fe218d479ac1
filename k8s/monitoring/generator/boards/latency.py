"""Where the time goes."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.panels import Query, dashboard, lines, quantile, quantiles, rate

__all__ = ["latency"]

_OK = 'outcome="ok"'
_WITHIN = 'outcome="ok",le="5.0"'


def latency() -> Dashboard:
    """Make the dashboard."""
    return dashboard(
        "Latency",
        "discgrade-latency",
        "Where the time goes.",
        {
            "Whole": [
                lines(
                    "Graded studies",
                    "From the first byte to the answer. Objective: p99 below 5 s.",
                    "s",
                    *quantiles("discgrade_grade_seconds", _OK),
                ),
                lines(
                    "Within 5 s",
                    "Share of the graded studies; objective 99 %.",
                    "percentunit",
                    Query(
                        f"{rate('discgrade_grade_seconds_bucket', _WITHIN)}"
                        f" / {rate('discgrade_grade_seconds_count', _OK)}",
                        "within 5 s",
                    ),
                ),
                lines(
                    "By class of outcome, p95",
                    "Refusals and overload have to be fast.",
                    "s",
                    Query(quantile(0.95, "discgrade_grade_seconds", by="outcome"), "{{outcome}}"),
                ),
                lines("Wait for a turn", "In the gateway's queue.", "s", *quantiles("discgrade_queue_wait_seconds")),
            ],
            "Stages": [
                lines(
                    "Stages, mean",
                    "They add up to the time of a study.",
                    "s",
                    Query(
                        f"{rate('discgrade_stage_seconds_sum', _OK, 'stage')}"
                        f" / {rate('discgrade_stage_seconds_count', _OK, 'stage')}",
                        "{{stage}}",
                    ),
                    stacked=True,
                ),
                lines(
                    "Stages, p95", "", "s", Query(quantile(0.95, "discgrade_stage_seconds", _OK, "stage"), "{{stage}}")
                ),
                lines(
                    "Stages that failed, p95",
                    "What a refused study costs before it is refused.",
                    "s",
                    Query(quantile(0.95, "discgrade_stage_seconds", 'outcome="refused"', "stage"), "{{stage}}"),
                ),
                lines(
                    "Inference by release, p95",
                    "A canary beside the release before it.",
                    "s",
                    Query(quantile(0.95, "discgrade_inference_seconds", by="release"), "release {{release}}"),
                ),
            ],
            "Around": [
                lines(
                    "Storage, p95",
                    "By operation.",
                    "s",
                    Query(quantile(0.95, "discgrade_storage_seconds", by="operation"), "{{operation}}"),
                ),
                lines(
                    "Storage operations",
                    "By outcome.",
                    "ops",
                    Query(
                        rate("discgrade_storage_seconds_count", by="operation, outcome"), "{{operation}} {{outcome}}"
                    ),
                ),
                lines(
                    "HTTP, p95",
                    "By route.",
                    "s",
                    Query(quantile(0.95, "discgrade_http_seconds", by="route"), "{{route}}"),
                ),
                lines(
                    "gRPC, p95",
                    "By method.",
                    "s",
                    Query(quantile(0.95, "discgrade_grpc_seconds", by="method"), "{{method}}"),
                ),
                lines("Results kept", "", "Bps", Query(rate("discgrade_stored_bytes_total"), "bytes a second")),
            ],
        },
    )
