"""Submits one job to an app in this process, and kills the process at a chosen moment.

``python -m tests.support.crashing DATA_DIR MOMENT``
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from dbos import DBOSClient

from gateway.app import create_app
from gateway.jobs.worker import Worker
from gateway.settings import Settings
from gateway.storage import LocalStorage
from tests.support.deadly import deadly
from tests.support.server import running_server
from tests.support.truth import TruthGrader
from training.phantom import Phantom, PhantomSpec, make_phantom, write_nifti

__all__ = ["HEADERS", "MOMENTS", "phantom_and_study"]

MOMENTS: dict[str, tuple[type[Any], str, bool]] = {
    "before the upload is kept": (LocalStorage, "put_upload", False),
    "after the upload is kept": (LocalStorage, "put_upload", True),
    "after the job is queued": (DBOSClient, "enqueue_async", True),
    "before it is graded": (Worker, "_grade", False),
    "before its result is kept": (LocalStorage, "save", False),
    "after its result is kept": (LocalStorage, "save", True),
    "before its upload is removed": (Worker, "discard", False),
    "after its upload is removed": (LocalStorage, "delete_upload", True),
}
"""The method at which the process dies, and whether after it."""

HEADERS = {"Idempotency-Key": "abc"}


def phantom_and_study() -> tuple[Phantom, list[tuple[str, tuple[str, bytes]]]]:
    """A study that is read fast, and its file as a multipart part."""
    phantom = make_phantom(PhantomSpec(slices=3, pixel_mm=1.0, matrix=(256, 200)))
    with tempfile.TemporaryDirectory() as folder:
        study = write_nifti(phantom, Path(folder) / "phantom.nii").read_bytes()
    return phantom, [("files", ("study", study))]


def _main(data_dir: Path, moment: str) -> None:
    kind, name, after = MOMENTS[moment]
    setattr(kind, name, deadly(getattr(kind, name), after))
    phantom, study = phantom_and_study()
    settings = Settings(data_dir=data_dir, cpu_workers=1)
    app = create_app(settings, lambda: TruthGrader(phantom), beside=lambda services: Worker(services, settings))
    with running_server(app) as url:
        httpx.post(f"{url}/v1/jobs", files=study, headers=HEADERS).raise_for_status()
        asyncio.run(asyncio.sleep(60))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
