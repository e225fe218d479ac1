"""What every way in shares: a spooled study is read, graded, kept and counted.

REST, gRPC and jobs only receive the files and translate the outcome.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from gateway import tracing
from gateway.admission import Ticket
from gateway.dataplane import Graded
from gateway.metrics import Metrics
from gateway.outcomes import CLIENT_LEFT, outcome_class, outcome_of
from gateway.stopwatch import Stopwatch

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["CLIENT_LEFT", "grade_files", "observed", "spooled"]


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
        upload_ms: Milliseconds already spent receiving the files; 0 where nobody waited for them.
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
    metrics = services.metrics
    if upload_ms:
        metrics.stage.labels("upload", "ok").observe(upload_ms / 1000)
    if ticket is not None:
        size = await services.workers.disk(lambda: sum(path.stat().st_size for path in files))
        ticket.correct(services.admission.estimate(size))
        with tracing.span("wait"), metrics.waiting.track_inprogress(), metrics.wait.time():
            await ticket.turn()
    watch = Stopwatch(upload_ms, progress, metrics.observe_stage)
    prepared = await services.dataplane.prepare(files, workdir, watch)
    if ticket is not None:
        ticket.correct(len(prepared.grid.pixels))
    graded = await services.dataplane.grade(prepared, services.grader)
    if result_id is not None:
        graded = replace(graded, result=graded.result.model_copy(update={"result_id": result_id}))
    with tracing.span("store"):
        await services.workers.disk(services.store.save, graded.result.result_id, graded.artefacts())
    metrics.quality.observe(graded.result, graded.signals)
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
    failure: BaseException | None = None
    metrics.in_flight.inc()
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        metrics.in_flight.dec()
        metrics.outcomes.labels(outcome_of(failure)).inc()
        metrics.whole.labels(outcome_class(failure)).observe(time.perf_counter() - started)
