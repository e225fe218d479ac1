"""Grades one study without an HTTP server, for the command line."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from discgrade.dicomweb import DicomwebReference, Study
from gateway import logs
from gateway.dataplane import Dataplane, Graded
from gateway.dicomweb import Dicomweb, load_servers
from gateway.metrics import Metrics
from gateway.serve import inference_server
from gateway.settings import Settings
from gateway.stopwatch import Stopwatch
from gateway.triton_client import TritonClient
from gateway.workers import Workers

__all__ = ["grade_study"]


def grade_study(study: Study, settings: Settings, progress: Callable[[str], None]) -> Graded:
    """Read or fetch one study, start tritonserver, grade, stop it.

    Args:
        study: Its files, or where it is; servers are those of the settings.
        settings: Limits, threads, and the tritonserver to use.
        progress: Told ``fetch``, ``start`` and each of :data:`gateway.metrics.STAGES` but ``upload`` as it begins.

    Raises:
        discgrade.errors.DiscgradeError: The study cannot be graded, or the server failed.
    """
    logs.configure(logging.CRITICAL)

    async def run(folder: Path, workdir: Path) -> Graded:
        workers = Workers(settings.cpu_workers)
        dataplane = Dataplane(workers, settings.read_limits())
        deidentifier = settings.deidentifier(settings.data_dir, settings.read_limits())
        if isinstance(study, DicomwebReference):
            progress("fetch")
            dicomweb = Dicomweb(load_servers(settings.dicomweb_file), settings.dicomweb_at_once, workers, Metrics())
            (fetched := folder / "fetched").mkdir()
            files = await dicomweb.fetch(study, fetched, settings.upload_limits())
        else:
            files = list(study)
        if deidentifier is not None:
            (clean := folder / "deidentified").mkdir()
            (opened := folder / "opened").mkdir()
            files = await workers.compute(deidentifier.study, files, clean, opened)
        prepared = await dataplane.prepare(files, workdir, Stopwatch(progress=progress))
        progress("start")  # only now: what cannot be read is refused at once
        with inference_server(settings) as triton:
            async with TritonClient(triton.url, timeout_seconds=settings.inference_timeout_seconds) as client:
                return await dataplane.grade(prepared, client)

    with (
        tempfile.TemporaryDirectory(prefix="discgrade-") as folder,
        tempfile.TemporaryDirectory(prefix="discgrade-") as workdir,
    ):
        return asyncio.run(run(Path(folder), Path(workdir)))
