"""What every way in shares: a spooled study is read, graded, kept and counted.

REST, gRPC and jobs only receive the files and translate the outcome.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from starlette.requests import ClientDisconnect

from discgrade.errors import DiscgradeError, ServiceError
from gateway.admission import Ticket
from gateway.dataplane import Graded
from gateway.metrics import STAGES, Metrics

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["CLIENT_LEFT", "grade_files", "observed", "spooled"]

CLIENT_LEFT = "client-closed-request"
"""The outcome of a request whose client left or whose deadline passed."""


async def grade_files(
    services: Services,
    files: list[Path],
    workdir: Path,
    *,
    upload_ms: float,
    progress: Callable[[str], None] | None = None,
    ticket: Ticket | None = None,
    result_id: str | None = None,
) -> Graded:
    """Grade a study and keep its result; a cancelled caller cancels the request in Triton.

    Args:
        services: The app's.
        files: What was sent; named by us, not by the sender.
        workdir: An empty folder the readers may unpack into; the caller removes it.
        upload_ms: Milliseconds already spent receiving the files.
        progress: Told the name of each of :data:`gateway.metrics.STAGES` but ``upload`` as it begins.
        ticket: The study's place in the house, whose turn is waited for; None grades at once.
        result_id: Of the result, where it was promised before; a new one when omitted.

    Returns:
        The graded study; its result and files are in the store.

    Raises:
        discgrade.errors.InputError: The study cannot be graded, and why.
        discgrade.errors.Overloaded: The wait for its turn was too long.
        discgrade.errors.ServiceError: Triton failed.
    """
    if ticket is not None:
        size = await services.workers.disk(lambda: sum(path.stat().st_size for path in files))
        ticket.correct(services.admission.estimate(size))
        await ticket.turn()
    prepared = await services.dataplane.prepare(files, workdir, upload_ms, progress)
    if ticket is not None:
        ticket.correct(len(prepared.grid.pixels))
    graded = await services.dataplane.grade(prepared, services.grader)
    if result_id is not None:
        graded = replace(graded, result=graded.result.model_copy(update={"result_id": result_id}))
    await services.workers.disk(services.store.save, graded.result.result_id, graded.artefacts())
    for stage in STAGES:
        services.metrics.stage.labels(stage).observe(graded.result.timings_ms[stage] / 1000)
    services.metrics.discs.observe(len(graded.result.discs))
    return graded


@asynccontextmanager
async def spooled(services: Services) -> AsyncIterator[tuple[Path, Path]]:
    """An empty folder for an upload and one for the readers, both removed however the request ends."""
    folder = await services.workers.disk(services.store.new_spool)
    try:
        upload, workdir = folder / "upload", folder / "unpacked"
        await services.workers.disk(upload.mkdir)
        await services.workers.disk(workdir.mkdir)
        yield upload, workdir
    finally:
        with anyio.CancelScope(shield=True):
            await services.workers.disk(services.store.discard, folder)


@asynccontextmanager
async def observed(metrics: Metrics) -> AsyncIterator[None]:
    """Count one study that is graded while its sender waits, and its outcome."""
    started = time.perf_counter()
    outcome = ServiceError.slug
    metrics.in_flight.inc()
    try:
        yield
        outcome = "ok"
    except DiscgradeError as error:
        outcome = error.slug
        raise
    except (ClientDisconnect, asyncio.CancelledError):
        outcome = CLIENT_LEFT
        raise
    finally:
        metrics.in_flight.dec()
        metrics.outcomes.labels(outcome).inc()
        whole = metrics.whole.labels("ok" if outcome == "ok" else "error")
        whole.observe(time.perf_counter() - started)
