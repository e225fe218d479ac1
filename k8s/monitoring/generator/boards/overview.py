"""Is all well?"""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.panels import HERE, Query, dashboard, lines, number, quantile, rate

__all__ = ["overview"]

_OK = 'outcome="ok"'


def overview() -> Dashboard:
    """Make the dashboard."""
    return dashboard(
        "Overview",
        "discgrade-overview",
        "Is all well? Throughput, outcomes, error budgets, room.",
        {
            "Now": [
                number(
                    "Studies a minute",
                    "Graded while their sender waits.",
                    "short",
                    Query(f"60 * {rate('discgrade_grade_seconds_count', _OK)}", "graded"),
                ),
                number(
                    "p99",
                    "Objective: below 5 s.",
                    "s",
                    Query(quantile(0.99, "discgrade_grade_seconds", _OK), "p99"),
                ),
                number("Jobs waiting", "", "short", Query(f"max(discgrade_jobs_queued{{{HERE}}})", "jobs")),
                number(
                    "Ensemble ready",
                    "Gateways and workers whose tritonserver answers, of all.",
                    "percentunit",
                    Query(f"avg(discgrade_triton_ready{{{HERE}}})", "ready"),
                ),
            ],
            "Outcomes": [
                lines(
                    "Studies by outcome",
                    "Slugs are those of docs/problems.md.",
                    "reqps",
                    Query(rate("discgrade_grade_outcomes_total", by="outcome"), "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Error budget: speed of its use",
                    "1 uses it up in 30 days, 14.4 in two. Windows of 1 h.",
                    "short",
                    Query(f"discgrade:grade_errors:ratio_rate1h{{{HERE}}} / 0.005", "errors {{namespace}}"),
                    Query(f"discgrade:grade_slow:ratio_rate1h{{{HERE}}} / 0.01", "latency {{namespace}}"),
                ),
                lines(
                    "HTTP requests",
                    "By status; 0 where the client left first.",
                    "reqps",
                    Query(rate("discgrade_http_requests_total", by="status"), "{{status}}"),
                    stacked=True,
                ),
                lines(
                    "gRPC calls",
                    "By method and code.",
                    "reqps",
                    Query(rate("discgrade_grpc_calls_total", by="method, code"), "{{method}} {{code}}"),
                    stacked=True,
                ),
            ],
            "Room": [
                lines(
                    "Slices in the house",
                    "Present: being received, waiting or running.",
                    "short",
                    Query(f"sum by (state) (discgrade_admission_slices{{{HERE}}})", "{{state}}"),
                    Query(f"sum by (state) (discgrade_admission_limit_slices{{{HERE}}})", "most {{state}}"),
                ),
                lines(
                    "Studies in the house",
                    "",
                    "short",
                    Query(f"sum(discgrade_grade_in_flight{{{HERE}}})", "in flight"),
                    Query(f"sum(discgrade_queue_waiting{{{HERE}}})", "waiting for their turn"),
                ),
                lines(
                    "Threads for pixels",
                    "Work that waits: decode and resample are short of cores.",
                    "short",
                    Query(f"sum by (state) (discgrade_compute_threads{{{HERE}}})", "{{state}}"),
                ),
                lines(
                    "Free disk",
                    "Of the data folder.",
                    "percentunit",
                    Query(f"discgrade_disk_free_bytes{{{HERE}}} / discgrade_disk_size_bytes{{{HERE}}}", "{{instance}}"),
                ),
                lines(
                    "Memory",
                    "Resident, of each gateway and worker.",
                    "bytes",
                    Query(f"process_resident_memory_bytes{{{HERE}}}", "{{job}} {{instance}}"),
                ),
                lines(
                    "Processor",
                    "Cores in use, of each gateway and worker.",
                    "short",
                    Query(f"rate(process_cpu_seconds_total{{{HERE}}}[$__rate_interval])", "{{job}} {{instance}}"),
                ),
            ],
            "Alerts": [
                lines("Targets that answer", "", "short", Query('sum by (job) (up{job=~".*discgrade-.*"})', "{{job}}")),
                lines(
                    "Versions",
                    "Of gateways and workers.",
                    "short",
                    Query(f"count by (version) (discgrade_build_info{{{HERE}}})", "{{version}}"),
                ),
            ],
        },
    )
