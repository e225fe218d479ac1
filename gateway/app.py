"""The FastAPI application and what lives as long as it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

import discgrade
from discgrade.result import DISCLAIMER
from gateway import page, problems, routes_grade, routes_jobs, routes_operations, routes_results
from gateway.admission import Admission
from gateway.audit import Audit, audit_key
from gateway.canary import Releases, Tracks
from gateway.dataplane import Dataplane
from gateway.deidentify import Deidentifier
from gateway.dicomweb import Dicomweb, load_servers
from gateway.door import Door
from gateway.door.build import make_door
from gateway.headers import BrowserRules
from gateway.jobs.database import JobDatabase
from gateway.jobs.service import Jobs
from gateway.metrics import Metrics
from gateway.middleware import RequestContext
from gateway.multipart import UploadLimits
from gateway.settings import Settings
from gateway.storage import Storage, open_storage
from gateway.storage.measured import MeasuredStorage
from gateway.telemetry.house import watch_house
from gateway.workers import Workers

__all__ = ["Services", "create_app"]

_SWEEP_SECONDS = 600


@dataclass(frozen=True)
class Services:
    """What the routes use; found at ``request.state.services``.

    Attributes:
        dataplane: Reads and grades studies.
        grader: Grades with the release in service, or a canary.
        lost: Whether tritonserver will not come back as long as this process lives.
        store: Keeps results and spools uploads.
        workers: Bounded threads.
        metrics: This app's collectors.
        triton_metrics_url: Where the embedded tritonserver's metrics are read; None where there is none.
        upload_limits: What one request may carry.
        door: Says who a caller is and what it may do.
        admission: Bounds the slices in the house.
        audit: Records who did what.
        jobs: The queue of studies that are graded later.
        dicomweb: Fetches studies that are named instead of sent.
        deidentifier: De-identifies what comes in; None where nothing is.
    """

    dataplane: Dataplane
    grader: Releases
    lost: Callable[[], bool]
    store: Storage
    workers: Workers
    metrics: Metrics
    triton_metrics_url: str | None
    upload_limits: UploadLimits
    door: Door
    admission: Admission
    audit: Audit
    jobs: Jobs
    dicomweb: Dicomweb
    deidentifier: Deidentifier | None


def create_app(
    settings: Settings,
    connect: Callable[[], AbstractAsyncContextManager[Tracks]],
    lost: Callable[[], bool] = lambda: False,
    *,
    triton_restarts: Callable[[], int] = lambda: 0,
    triton_metrics_url: str | None = None,
    admission: Admission | None = None,
    beside: Callable[[Services], AbstractAsyncContextManager[object]] = nullcontext,
    api: bool = True,
) -> FastAPI:
    """Make the application.

    Args:
        settings: What the operator set.
        connect: Makes the Triton client, within the app's event loop; it is open as long as the app.
        lost: Whether tritonserver will not come back as long as this process lives; ``/livez`` then fails.
        triton_restarts: How often the embedded tritonserver was started again.
        triton_metrics_url: Where its metrics are read; None where there is none.
        admission: Closed by the caller to drain the app; one of its own when omitted.
        beside: What is open as long as the app and uses the same services, such as the gRPC server.
        api: Whether more than health, metrics and models is served.
    """
    admission = admission or settings.admission()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Services]]:
        async with connect() as triton:
            workers = Workers(settings.cpu_workers)
            metrics = Metrics()
            store = MeasuredStorage(
                await workers.disk(
                    open_storage,
                    settings.storage_url,
                    settings.data_dir,
                    settings.keep_results,
                    settings.keep_hours * 3600,
                ),
                metrics.traffic,
            )
            watch_house(
                metrics.registry,
                admission,
                workers,
                settings.data_dir,
                max_queued_jobs=settings.max_queued_jobs,
                triton_restarts=triton_restarts,
            )
            audit = await workers.disk(_audit, settings, workers)
            database = JobDatabase(settings.jobs_url(), workers)
            jobs = Jobs(
                database,
                store,
                workers,
                settings.webhooks(),
                max_queued=settings.max_queued_jobs,
                keep_seconds=settings.keep_hours * 3600,
            )
            servers = await workers.disk(load_servers, settings.dicomweb_file)
            deidentifier = await workers.disk(settings.deidentifier, settings.data_dir, settings.read_limits())
            sweeper = asyncio.create_task(_sweep(store, workers))
            try:
                services = Services(
                    dataplane=Dataplane(workers, settings.read_limits()),
                    grader=Releases(triton, metrics.releases),
                    lost=lost,
                    store=store,
                    workers=workers,
                    metrics=metrics,
                    triton_metrics_url=triton_metrics_url,
                    upload_limits=settings.upload_limits(),
                    door=make_door(settings, audit),
                    admission=admission,
                    audit=audit,
                    jobs=jobs,
                    deidentifier=deidentifier,
                    dicomweb=Dicomweb(servers, settings.dicomweb_at_once, workers, metrics),
                )
                async with beside(services):
                    yield {"services": services}
            finally:
                sweeper.cancel()
                with suppress(asyncio.CancelledError):
                    await sweeper
                await database.close()
                await workers.disk(store.close)

    app = FastAPIOffline(  # FastAPI's own page loads its scripts from the internet, which hospitals do not have
        docs_url="/docs",
        redoc_url=None,
        static_url="/docs/assets",
        swagger_ui_parameters={"validatorUrl": None},  # Swagger UI would send this server's address to swagger.io
        title="discgrade",
        version=discgrade.__version__,
        summary="Segments, names and grades the lumbar discs of a sagittal T2 MRI.",
        description=DISCLAIMER,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI's own records raw paths and queries
        openapi_tags=[
            {"name": "grading", "description": f"Grade a study and fetch its result. {DISCLAIMER}"},
            {"name": "jobs", "description": f"Hand studies in and have them graded later. {DISCLAIMER}"},
            {"name": "operations", "description": "Health, metrics and models, for those who run the server."},
        ],
    )
    app.add_middleware(BrowserRules)
    app.add_middleware(RequestContext)  # added last, so that it surrounds the others
    problems.install(app)
    if api:
        app.include_router(routes_grade.router)
        app.include_router(routes_jobs.router)
        app.include_router(routes_results.router)
        app.include_router(routes_results.deletion)
        app.include_router(page.router)
    app.include_router(routes_operations.router)
    return app


def _audit(settings: Settings, workers: Workers) -> Audit:
    log, key = settings.audit_files()
    return Audit(log, audit_key(key, log), workers)


async def _sweep(store: Storage, workers: Workers) -> None:
    while True:
        await workers.disk(store.sweep)
        await asyncio.sleep(_SWEEP_SECONDS)
