"""Clients that hand studies in, each until it is accepted, and follow their jobs."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.faults.report import Report
from training.phantom import PhantomSpec, make_phantom, write_nifti

__all__ = ["Clients"]

_CLIENTS = 4
_AHEAD = 12
"""Most jobs that are accepted and have not ended: so studies are handed in as long as processes are killed."""
_REPEATED = 0.2
_END_SECONDS = 600.0
_SPACING_MM = 4.0
_SPACING_STEP_MM = 0.001


class Clients:
    """Hand studies in.

    Args:
        url: The gateway.
        webhook: The receiver to name.
        folder: For files.
        report: Filled in.
        seed: Chooses what is sent twice.
    """

    def __init__(self, url: str, webhook: str, folder: Path, report: Report, seed: int) -> None:
        self._url = url
        self._webhook = webhook
        self._folder = folder
        self._report = report
        self._volume = make_phantom(PhantomSpec(slices=3, matrix=(384, 384))).volume
        self._chance = random.Random(seed + 1)
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._next = 0
        self._threads: list[Future[None]] = []
        self.studies: dict[str, float] = {}
        """Slice spacing in mm, by job id: it comes back in the result, and tells whose result that is."""
        self.accepted_at: dict[str, float] = {}
        self._open: set[str] = set()

    @contextmanager
    def handing_in(self, at_least: int) -> Iterator[None]:
        """Hand studies in until the block ended and there are enough of them."""
        with ThreadPoolExecutor(_CLIENTS) as pool:
            self._threads = [pool.submit(self._hand_in, at_least) for _ in range(_CLIENTS)]
            try:
                yield
            finally:
                self._enough.set()
        self.check()

    def check(self) -> None:
        """Raise what a client stumbled over."""
        for thread in self._threads:
            if thread.done():
                thread.result()

    def follow_up(self) -> None:
        """Wait until every accepted job has ended."""
        deadline = time.monotonic() + _END_SECONDS
        with httpx.Client(timeout=60) as client:
            while self._open and time.monotonic() < deadline:
                self._look(client)
                time.sleep(0.1)
        self._report.failures += [f"job {job_id} has not ended" for job_id in sorted(self._open)]

    def _hand_in(self, at_least: int) -> None:
        with httpx.Client(timeout=60) as client:
            while True:
                with self._lock:
                    if self._enough.is_set() and self._next >= at_least:
                        return
                    number, self._next = self._next, self._next + 1
                    again = self._chance.random() < _REPEATED
                study, spacing = self._study(number)
                headers = {"Idempotency-Key": str(uuid.uuid4()), "Webhook-URL": self._webhook}
                job_id = self._until_accepted(client, study, headers)
                with self._lock:
                    self.studies[job_id] = spacing
                    self._open.add(job_id)
                    self.accepted_at[job_id] = time.monotonic()
                    self._report.accepted += 1
                while again or len(self._open) >= _AHEAD:
                    if again and self._until_accepted(client, study, headers) != job_id:
                        self._report.failures.append("a repetition made another job")
                    self._look(client)
                    time.sleep(0.1)
                    with self._lock:
                        again = self._chance.random() < _REPEATED

    def _study(self, number: int) -> tuple[bytes, float]:
        spacing = round(_SPACING_MM + number * _SPACING_STEP_MM, 4)
        scale = np.diag([spacing / self._volume.spacing[0], 1.0, 1.0, 1.0])
        path = self._folder / f"{number}.nii.gz"
        write_nifti(dataclasses.replace(self._volume, affine=self._volume.affine @ scale), path)
        study = path.read_bytes()
        path.unlink()
        return study, spacing

    def _until_accepted(self, client: httpx.Client, study: bytes, headers: dict[str, str]) -> str:
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = client.post(f"{self._url}/v1/jobs", files=[("files", ("study", study))], headers=headers)
            except httpx.TransportError:
                pass
            else:
                if answer.status_code == 202:
                    return str(answer.json()["job_id"])
                assert answer.status_code >= 500, answer.text
            with self._lock:
                self._report.refusals += 1
            time.sleep(0.2)
        raise AssertionError("a study was not accepted")

    def _look(self, client: httpx.Client) -> None:
        """Note which jobs have ended."""
        for job_id in list(self._open):
            try:
                answer = client.get(f"{self._url}/v1/jobs/{job_id}")
            except httpx.TransportError:
                return
            if answer.status_code >= 500:
                return
            job = answer.json()
            if answer.status_code == 200 and job["state"] in {"queued", "running"}:
                continue
            with self._lock:
                if job_id not in self._open:
                    continue
                self._open.remove(job_id)
                self._report.waits.append(time.monotonic() - self.accepted_at[job_id])
                if failure := self._wrong(client, job, self.studies[job_id]):
                    self._report.failures.append(f"job {job_id}: {failure}")
                else:
                    self._report.graded += 1

    def _wrong(self, client: httpx.Client, job: dict[str, Any], spacing: float) -> str | None:
        if job.get("state") != "succeeded":
            return str(job)
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = client.get(f"{self._url}{job['result_url']}")
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.status_code != 200:
                return f"its result answers {answer.status_code}"
            found = answer.json()["input"]["spacing_mm"][0]
            return None if abs(found - spacing) < _SPACING_STEP_MM / 2 else "it has the result of another study"
        return "its result cannot be fetched"
