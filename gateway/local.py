"""Grades one study without an HTTP server, for the command line."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from gateway import logs
from gateway.dataplane import Dataplane, Graded
from gateway.serve import inference_server
from gateway.settings import Settings
from gateway.triton_client import TritonClient
from gateway.workers import Workers

__all__ = ["grade_files"]


def grade_files(files: list[Path], settings: Settings, progress: Callable[[str], None]) -> Graded:
    """Read one study, start tritonserver, grade, stop it.

    Args:
        files: The study.
        settings: Limits, threads, and the tritonserver to use.
        progress: Told ``start`` and each of :data:`gateway.metrics.STAGES` but ``upload`` as it begins.

    Raises:
        discgrade.errors.DiscgradeError: The study cannot be graded, or the server failed.
    """
    logs.configure(logging.CRITICAL)

    async def run(workdir: Path) -> Graded:
        dataplane = Dataplane(Workers(settings.cpu_workers), settings.read_limits())
        prepared = await dataplane.prepare(files, workdir, progress=progress)
        progress("start")  # only now: what cannot be read is refused at once
        with inference_server(settings) as triton:
            async with TritonClient(triton.url, timeout_seconds=settings.inference_timeout_seconds) as client:
                return await dataplane.grade(prepared, client)

    with tempfile.TemporaryDirectory(prefix="discgrade-") as workdir:
        return asyncio.run(run(Path(workdir)))
