"""Looks after the house while a worker works: dead workers' jobs, gauges, and what is to be swept."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from dbos import DBOS

from gateway.jobs.liveness import Liveness
from gateway.logs import trace

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["Keeper"]

_LOOK_SECONDS = 1.0
"""Between two looks after the other workers: how long a dead one's jobs wait, about twice this."""
_COUNT_SECONDS = 5.0
_SWEEP_SECONDS = 600.0

_log = structlog.get_logger("jobs")


class Keeper:
    """Keeps house for one worker.

    Args:
        services: The app's.
        locks: This worker's lock, and those of the others.
        worker: Name of this worker.
    """

    def __init__(self, services: Services, locks: Liveness, worker: str) -> None:
        self._services = services
        self._locks = locks
        self._worker = worker
        self._missing: set[str] = set()

    async def keep(self) -> None:
        """Do so until it is cancelled."""
        counted = swept = float("-inf")
        while True:
            try:
                await self._inherit()
                if time.monotonic() - counted > _COUNT_SECONDS:
                    await self._count()
                    counted = time.monotonic()
                if time.monotonic() - swept > _SWEEP_SECONDS:
                    await self._services.jobs.sweep()
                    swept = time.monotonic()
            except Exception as error:  # whatever it was, the jobs of dead workers must not wait for a restart
                _log.warning("keeping house failed; it is tried again", error=trace(error))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _count(self) -> None:
        queued, oldest = await self._services.jobs.database.queued()
        self._services.metrics.jobs_queued.set(queued)
        self._services.metrics.jobs_oldest.set(max(time.time() - oldest, 0.0) if queued else 0.0)

    async def _inherit(self) -> None:
        """Put the jobs of dead workers back into the queue.

        A worker counts as dead when its lock is free at two looks in a row: after a restart of the database every
        worker has lost its lock, and takes it again within one.
        """
        disk = self._services.workers.disk
        await disk(self._locks.hold)
        free = set()
        for name in await self._services.jobs.database.executors() - {self._worker}:
            if await disk(self._inherit_from, name, again=name in self._missing):
                free.add(name)
        self._missing = free

    def _inherit_from(self, name: str, *, again: bool) -> bool:
        """Whether a worker's lock is free; if it was before, its jobs are put back."""
        with self._locks.if_dead(name) as dead:
            if dead and again:
                # dbos leaves finding the dead to a service of its makers; this is the call that service makes.
                count = len(DBOS._recover_pending_workflows([name]))
                self._services.metrics.jobs_inherited.inc(count)
                _log.warning("took over the jobs of a worker that died", worker=name, count=count)
            return dead
