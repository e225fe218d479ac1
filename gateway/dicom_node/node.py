"""Runs a node in the foreground until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog

from discgrade.errors import InvalidRequest
from gateway import logs
from gateway.dicom_node.database import Database
from gateway.dicom_node.delivery import Deliverer
from gateway.dicom_node.grading import Grading
from gateway.dicom_node.inbox import Inbox, State
from gateway.dicom_node.metrics import NodeMetrics
from gateway.dicom_node.outbox import Outbox
from gateway.dicom_node.scp import StoragePort
from gateway.dicom_node.settings import NodeSettings
from gateway.dicom_node.web import Web

__all__ = ["Node", "run"]

_TICK_SECONDS = 0.25


def run(settings: NodeSettings) -> None:
    """Take, hand in and send back studies; SIGTERM and SIGINT let open associations end first.

    Raises:
        discgrade.errors.Conflict: Another node uses the data folder.
        discgrade.errors.InvalidRequest: A port or a certificate cannot be used.
    """
    with Node(settings) as node:
        logs.configure()
        threading.excepthook = _note_thread
        asyncio.run(_until_signal(node))


async def _until_signal(node: Node) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, node.stop)
    await node.run()


def _note_thread(ended: threading.ExceptHookArgs) -> None:
    error = ended.exc_value  # its text may quote what was received
    structlog.get_logger().error("thread ended", error=None if error is None else logs.trace(error))


class Node:
    """One node; a context manager, which holds its data folder.

    Args:
        settings: What the operator set.

    Raises:
        discgrade.errors.Conflict: Another node uses the data folder.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._database = Database(settings.data_dir, exclusive=True)
        self._inbox, self._outbox = Inbox(self._database, settings), Outbox(self._database)
        self._metrics = NodeMetrics()
        self._metrics.watch(self._inbox, self._outbox, list(settings.destinations), settings.data_dir)
        self._port = StoragePort(settings, self._inbox, self._metrics)
        self._grading = Grading(settings, self._inbox, self._outbox, self._metrics)
        self._deliverer = Deliverer(settings, self._outbox, self._metrics)
        self._stop = asyncio.Event()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def stop(self) -> None:
        """End :meth:`run`; called in its event loop."""
        self._stop.set()

    async def run(self) -> None:
        """Work until :meth:`stop`.

        Raises:
            discgrade.errors.InvalidRequest: A port or a certificate cannot be used.
        """
        self._inbox.recover()
        self._outbox.recover()
        web = self._open()
        calls = [asyncio.create_task(self._repeat(step)) for step in (self._close_quiet, self._grading.step)]
        deliveries = [
            asyncio.create_task(self._repeat(partial(self._deliverer.step, name)))
            for name in self._settings.destinations
        ]
        try:
            await self._stop.wait()
        finally:
            structlog.get_logger().info("stopping")
            self._deliverer.stop()
            for call in calls:  # what the gateway was asked it is asked again, under the same key
                call.cancel()
            await asyncio.to_thread(self._port.close, self._settings.stop_seconds)
            await asyncio.gather(*calls, *deliveries, return_exceptions=True)
            web.close()

    def _open(self) -> Web:
        settings = self._settings
        try:
            web = Web(
                settings.metrics_host, settings.metrics_port, self._metrics.registry, lambda: not self._stop.is_set()
            )
            port = self._port.open()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InvalidRequest(
                f"The node cannot listen: {error.__class__.__name__}.",
                "Check host, port, metrics_host, metrics_port and the certificate in its configuration.",
            ) from error
        web.open()
        where = {"host": settings.host, "port": port, "metrics": f"http://{settings.metrics_host}:{web.port}/metrics"}
        structlog.get_logger().info("listening", ae_title=settings.ae_title, **where)
        return web

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            try:
                await step()
            except Exception as error:  # the next one may find things better: a disk with room, a file that is back
                structlog.get_logger().error("step failed", error=logs.trace(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _TICK_SECONDS)

    async def _close_quiet(self) -> None:
        for study, state in self._inbox.close_quiet(self._port.sending()):
            event = "held" if state is State.HELD else "closed"
            self._metrics.studies.labels(event).inc()
            structlog.get_logger().info("study", study=study, what=event)
        self._inbox.forget()
