"""Delivers the outbox: each destination on its own, so that one that is away keeps no other waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import structlog

from gateway.dicom_node.c_store import send_by_c_store
from gateway.dicom_node.metrics import NodeMetrics
from gateway.dicom_node.outbox import Delivery, Outbox, Outcome
from gateway.dicom_node.settings import NodeSettings, StowDestination
from gateway.dicom_node.stow import send_by_stow
from gateway.logs import trace

__all__ = ["Deliverer"]


class Deliverer:
    """Sends what is due.

    Args:
        settings: The node's.
        outbox: What is to be sent.
        metrics: Where is counted.
    """

    def __init__(self, settings: NodeSettings, outbox: Outbox, metrics: NodeMetrics) -> None:
        self._settings = settings
        self._outbox = outbox
        self._metrics = metrics
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Begin nothing more; what is being sent is sent."""
        self._stopping.set()

    async def step(self, name: str) -> None:
        """Send what is due to one destination."""
        if due := self._outbox.due(name):
            await asyncio.to_thread(self._send, name, due)

    def _send(self, name: str, due: list[Delivery]) -> None:
        settled: set[int] = set()
        try:
            for delivery, outcome, reason, after in self._attempts(name, due):
                settled.add(delivery.number)
                self._settle(delivery, outcome, reason, after)
                if self._stopping.is_set():
                    return
        except Exception as error:  # a library's, about one of them: all are tried again
            structlog.get_logger().error("delivery failed", destination=name, error=trace(error))
            for delivery in due:
                if delivery.number not in settled:
                    self._settle(delivery, Outcome.AWAY, type(error).__name__, 0.0)

    def _attempts(self, name: str, due: list[Delivery]) -> Iterator[tuple[Delivery, Outcome, str | None, float]]:
        destination = self._settings.destinations[name]
        if isinstance(destination, StowDestination):
            yield from send_by_stow(due, destination)
        else:
            for delivery, outcome, reason in send_by_c_store(due, destination, self._settings.ae_title):
                yield delivery, outcome, reason, 0.0

    def _settle(self, delivery: Delivery, outcome: Outcome, reason: str | None, after: float) -> None:
        destination = self._settings.destinations[delivery.destination]
        final = self._outbox.settle(delivery, outcome, reason, destination, after)
        self._metrics.deliveries.labels(delivery.destination, delivery.name, final).inc()
        structlog.get_logger().log(
            20 if final is Outcome.DELIVERED else 30,
            "delivery",
            **{"study": delivery.study, "number": delivery.number, "destination": delivery.destination},
            **{"object": delivery.name, "outcome": final, "reason": reason, "attempt": delivery.attempts + 1},
        )
