"""Runs a node in the foreground until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from discgrade.errors import InvalidRequest
from gateway import logs
from gateway.dicom_node.database import Database
from gateway.dicom_node.delivery import Deliverer
from gateway.dicom_node.grading import Grading
from gateway.dicom_node.inbox import Inbox
from gateway.dicom_node.metrics import NodeMetrics
from gateway.dicom_node.outbox import Outbox
from gateway.dicom_node.scp import StoragePort
from gateway.dicom_node.settings import NodeSettings
from gateway.dicom_node.web import Web

__all__ = ["run"]

_TICK_SECONDS = 0.25


def run(settings: NodeSettings) -> None:
    """Take, hand in and send back studies; SIGTERM and SIGINT let open associations end first.

    Raises:
        discgrade.errors.Conflict: Another node uses the data folder.
        discgrade.errors.InvalidRequest: A port or a certificate cannot be used.
    """
    logs.configure()
    database = Database(settings.data_dir, exclusive=True)
    try:
        asyncio.run(_Node(settings, database).run())
    finally:
        database.close()


class _Node:
    def __init__(self, settings: NodeSettings, database: Database) -> None:
        self._settings = settings
        self._inbox, self._outbox = Inbox(database, settings), Outbox(database)
        self._inbox.recover()
        self._outbox.recover()
        self._metrics = NodeMetrics()
        self._metrics.watch(self._inbox, self._outbox, list(settings.destinations), settings.data_dir)
        self._port = StoragePort(settings, self._inbox, self._metrics)
        self._grading = Grading(settings, self._inbox, self._outbox, self._metrics)
        self._deliverer = Deliverer(settings, self._outbox, self._metrics)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        settings = self._settings
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        try:
            web = Web(settings.metrics_host, settings.metrics_port, self._metrics.registry, self._is_ready)
            port = self._port.open()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InvalidRequest(
                f"The node cannot listen: {error.__class__.__name__}.",
                "Check host, port, metrics_host, metrics_port and the certificate.",
            ) from error
        web.open()
        where = {"host": settings.host, "port": port, "metrics": f"http://{settings.metrics_host}:{web.port}/metrics"}
        structlog.get_logger().info("listening", ae_title=settings.ae_title, **where)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._close_quiet))
            tasks.create_task(self._repeat(self._grading.step))
            for name in settings.destinations:
                tasks.create_task(self._repeat(partial(self._deliverer.step, name)))
            await self._stop.wait()
            structlog.get_logger().info("stopping")
            await asyncio.to_thread(self._port.close, settings.stop_seconds)
        web.close()

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            try:
                await step()
            except Exception as error:
                structlog.get_logger().error("step failed", error=logs.trace(error))
            try:
                await asyncio.wait_for(self._stop.wait(), _TICK_SECONDS)
            except TimeoutError:
                continue

    async def _close_quiet(self) -> None:
        for study, state in self._inbox.close_quiet(self._port.sending()):
            event = "held" if state == "held" else "closed"
            self._metrics.studies.labels(event).inc()
            structlog.get_logger().info("study", study=study, what=event)
        self._inbox.forget()

    def _is_ready(self) -> bool:
        return not self._stop.is_set()
