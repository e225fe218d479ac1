"""Metrics of releases: what each was asked and how that ended, and the share of a canary."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["CANARY", "STABLE", "ReleaseMetrics"]

STABLE = "stable"
"""The track of the release in service."""
CANARY = "canary"


class ReleaseMetrics:
    """The collectors.

    Args:
        registry: Where they are exposed.

    Attributes:
        requests: Studies that releases were asked to grade, by track, release and outcome: ``ok`` or a problem's slug.
            What a canary did not grade counts for it and, graded by the release in service, again for that.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "discgrade_release_requests",
            "Studies that a release was asked to grade, by outcome: ok, or the problem type's last part.",
            ["track", "release", "outcome"],
            registry=registry,
        )
        self._share = Gauge(
            "discgrade_canary_share",
            "Share of the studies that a canary grades; none where there is no canary.",
            ["release"],
            registry=registry,
        )

    def show_canary(self, shares: Mapping[str, float]) -> None:
        """Show the canary's share by its release; nothing where there is no canary."""
        self._share.clear()
        for release, share in shares.items():
            self._share.labels(release).set(share)
