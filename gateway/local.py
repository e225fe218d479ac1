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


def grade_files(files: list[Path], progress: Callable[[str], None]) -> Graded:
    """Start tritonserver, grade one study, stop it.

    Args:
        files: The study.
        progress: Told ``start`` and then each of :data:`gateway.metrics.STAGES` but ``upload`` as it begins.

    Raises:
        discgrade.errors.DiscgradeError: The study cannot be graded, or the server failed.
    """
    logs.configure(logging.CRITICAL)
    settings = Settings()
    progress("start")
    with inference_server(settings) as triton_url, tempfile.TemporaryDirectory(prefix="discgrade-") as workdir:

        async def run() -> Graded:
            async with TritonClient(triton_url, timeout_seconds=settings.inference_timeout_seconds) as client:
                dataplane = Dataplane(client, Workers(settings.cpu_workers), settings.read_limits())
                return await dataplane.grade(files, Path(workdir), progress=progress)

        return asyncio.run(run())
