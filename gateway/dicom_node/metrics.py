"""Prometheus metrics of a node; labels are names from its configuration, never what objects say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.dicom_node.inbox import Inbox
from gateway.dicom_node.outbox import Letter, Outbox

__all__ = ["NodeMetrics"]


class NodeMetrics:
    """The collectors, in a registry of their own.

    Attributes:
        registry: What ``/metrics`` exposes.
        associations: Associations, by caller (``unknown`` for those not allowed) and outcome.
        instances: Objects that were sent, by outcome.
        studies: Studies that were closed, and anomalies of studies, by what happened.
        graded: Revisions that ended, by outcome: ``ok`` or a problem's slug.
        contexts: Presentation contexts that were not accepted, by caller.
        gateway: Calls of the gateway that failed, by a problem's slug.
        missing: Objects that a result did not have, by their name.
        deliveries: Attempts to deliver objects, by destination, object and outcome.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"discgrade_node_{name}", what, labels, registry=self.registry)

        self.associations = counter(
            "associations",
            "Associations by caller and outcome: released, aborted, rejected-calling, rejected-called, rejected-busy.",
            *("caller", "outcome"),
        )
        self.contexts = counter(
            "refused_contexts", "Presentation contexts that were proposed and not accepted.", "caller"
        )
        self.instances = counter(
            "instances",
            "Objects by outcome: stored, duplicate, replaced, ignored, unreadable, mismatch, too-large, no-space.",
            "outcome",
        )
        self.studies = counter("studies", "Studies by event: closed, held, interrupted, two-patients, late.", "event")
        self.graded = counter(
            "graded", "Revisions of studies that ended, by outcome: ok, or the problem type's last part.", "outcome"
        )
        self.gateway = counter(
            "gateway_failures", "Calls of the gateway that failed, by the problem type's last part.", "problem"
        )
        self.missing = counter("missing_objects", "Objects that a result does not have.", "object")
        self.deliveries = counter(
            "deliveries",
            "Attempts to deliver objects, by outcome: delivered, away, refused, dead.",
            *("destination", "object", "outcome"),
        )

        for outcome in (
            "stored",
            "duplicate",
            "replaced",
            "ignored",
            "unreadable",
            "mismatch",
            "too-large",
            "no-space",
        ):
            self.instances.labels(outcome)  # so that a rate over them has a zero to start from
        for event in ("closed", "held", "interrupted", "two-patients", "late"):
            self.studies.labels(event)
        self.graded.labels("ok")

    def watch(self, inbox: Inbox, outbox: Outbox, destinations: list[str], folder: Path) -> None:
        """Expose what is on disk, as it is when asked."""
        self.registry.register(_Stock(inbox, outbox, destinations, folder))


class _Stock(Collector):
    def __init__(self, inbox: Inbox, outbox: Outbox, destinations: list[str], folder: Path) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._destinations = destinations
        self._folder = folder

    def collect(self) -> Iterator[GaugeMetricFamily]:
        revisions = GaugeMetricFamily(
            "discgrade_node_revisions", "Revisions of studies on disk, by state.", labels=["state"]
        )
        for state, count in self._inbox.counts().items():
            revisions.add_metric([state], count)
        yield revisions
        waiting = GaugeMetricFamily(
            "discgrade_node_outbox", "Objects in the outbox, by state.", labels=["destination", "state"]
        )
        oldest = GaugeMetricFamily(
            "discgrade_node_outbox_oldest_seconds", "For how long the oldest object waits.", labels=["destination"]
        )
        counts = self._outbox.counts()
        for destination in sorted({*self._destinations, *(place for place, _ in counts)}):
            for letter in (Letter.WAITING, Letter.DEAD):
                waiting.add_metric([destination, letter], counts.get((destination, letter), 0))
            oldest.add_metric([destination], self._outbox.oldest(destination))
        yield waiting
        yield oldest
        yield GaugeMetricFamily(
            "discgrade_node_free_bytes", "Free space of the data folder.", shutil.disk_usage(self._folder).free
        )
