"""The queue, its workers and webhooks."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.panels import HERE, Query, dashboard, lines, quantile, quantiles, rate

__all__ = ["jobs"]

_OK = 'outcome="ok"'


def jobs() -> Dashboard:
    """Make the dashboard."""
    return dashboard(
        "Jobs",
        "discgrade-jobs",
        "The queue, its workers and webhooks.",
        {
            "Queue": [
                lines(
                    "Jobs",
                    "",
                    "short",
                    Query(f"max(discgrade_jobs_queued{{{HERE}}})", "waiting"),
                    Query(f"sum(discgrade_jobs_running{{{HERE}}})", "running"),
                    Query(f"max(discgrade_jobs_limit{{{HERE}}})", "most"),
                ),
                lines(
                    "Age of the oldest that waits",
                    "",
                    "s",
                    Query(f"max(discgrade_jobs_oldest_seconds{{{HERE}}})", "oldest"),
                ),
                lines("Wait before the first attempt", "", "s", *quantiles("discgrade_job_wait_seconds")),
                lines(
                    "From submission to end", "Of jobs that succeeded.", "s", *quantiles("discgrade_job_seconds", _OK)
                ),
            ],
            "Ends": [
                lines(
                    "Jobs ended",
                    "By outcome.",
                    "ops",
                    Query(rate("discgrade_jobs_ended_total", by="outcome"), "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Attempts made again",
                    "By outcome; and jobs taken over from workers that died.",
                    "ops",
                    Query(f"{rate('discgrade_job_retries_total', by='outcome')} or vector(0)", "{{outcome}}"),
                    Query(rate("discgrade_jobs_inherited_total"), "taken over"),
                ),
                lines(
                    "Webhooks",
                    "Attempts by outcome.",
                    "ops",
                    Query(rate("discgrade_webhooks_total", by="outcome"), "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Studies fetched from PACS",
                    "By server and outcome.",
                    "ops",
                    Query(
                        f"{rate('discgrade_dicomweb_fetches_total', by='server, outcome')} or vector(0)",
                        "{{server}} {{outcome}}",
                    ),
                ),
                lines(
                    "Fetching a study, p95",
                    "From DICOMweb servers.",
                    "s",
                    Query(quantile(0.95, "discgrade_dicomweb_fetch_seconds"), "p95"),
                ),
                lines(
                    "Bytes fetched",
                    "By server.",
                    "Bps",
                    Query(f"{rate('discgrade_dicomweb_bytes_total', by='server')} or vector(0)", "{{server}}"),
                ),
            ],
        },
    )
