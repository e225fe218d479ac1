"""Submits jobs while processes are killed, and checks that what was accepted was graded, once."""

from __future__ import annotations

import collections
import dataclasses
import random
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.faults.house import House
from tests.faults.receiver import Receiver
from training.phantom import PhantomSpec, make_phantom, write_nifti

__all__ = ["Report", "run"]

_CLIENTS = 4
_AHEAD = 12
"""Most jobs that are accepted and have not ended: so studies are handed in as long as processes are killed."""
_REPEATED = 0.1
_END_SECONDS = 600.0
_SPACING_MM = 4.0
_SPACING_STEP_MM = 0.001


@dataclasses.dataclass
class Report:
    """What a run found.

    Attributes:
        accepted: Jobs that were answered with 202.
        graded: Jobs that succeeded, each with a result of its own study.
        results: Results in the storage.
        messages: Webhooks, by id.
        repeated: Webhooks that came more than once, under the same id.
        refusals: Requests that had to be sent again.
        recoveries: Seconds until a killed process was healthy again, by its name.
        waits: Seconds from a job's acceptance to its end.
        failures: What went wrong, in words; empty is good.
    """

    accepted: int = 0
    graded: int = 0
    results: int = 0
    messages: int = 0
    repeated: int = 0
    refusals: int = 0
    recoveries: dict[str, list[float]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    waits: list[float] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The figures, for people."""
        kills = sum(map(len, self.recoveries.values()))
        yield f"jobs accepted {self.accepted}, graded {self.graded}; results kept {self.results}"
        yield f"webhooks {self.messages}, of these sent more than once under the same id {self.repeated}"
        yield f"requests sent again {self.refusals}, processes killed {kills}"
        for name, seconds in sorted(self.recoveries.items()):
            yield f"  {name}: {len(seconds)} kills, healthy again after {_figures(seconds)}"
        yield f"  all: healthy again after {_figures([s for each in self.recoveries.values() for s in each])}"
        yield f"job from acceptance to end: {_figures(self.waits)}"
        yield from (f"FAILED: {failure}" for failure in self.failures)


def run(jobs: int, kills: int, seed: int, environment: Mapping[str, str] | None = None) -> Report:
    """Hand in studies and kill processes until both numbers are reached, then wait and count.

    Args:
        jobs: Studies handed in at least.
        kills: Processes killed.
        seed: Chooses what is killed when.
        environment: Settings of the processes, such as the database.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="discgrade-faults-") as folder, Receiver(_REPEATED, seed) as receiver:
        data_dir = Path(folder) / "data"
        settings = {
            "DISCGRADE_WEBHOOK_SECRET": receiver.secret,
            "DISCGRADE_WEBHOOK_ALLOW_PRIVATE": "true",
            "DISCGRADE_WEBHOOK_RETRY_SECONDS": "1",
            "DISCGRADE_RATE_LIMIT": "100000/minute",
            **(environment or {}),
        }
        with House(data_dir, settings) as house:
            clients = _Clients(house.url, receiver.url, Path(folder), report, seed)
            with clients.handing_in(jobs):
                for wait, name in _plan(house.names, kills, seed):
                    time.sleep(wait)
                    report.recoveries[name].append(house.kill(name))
                    clients.check()
            clients.follow_up()
            _check(report, clients.studies, receiver, data_dir)
    return report


def _plan(names: list[str], kills: int, seed: int) -> Iterator[tuple[float, str]]:
    """Seconds to wait, and what to kill then; all are killed about equally often."""
    chance = random.Random(seed)
    bag: list[str] = []
    for _ in range(kills):
        bag = bag or chance.sample(names, len(names))
        yield chance.uniform(0.0, 3.0), bag.pop()


class _Clients:
    """Hand studies in, each until it is accepted."""

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
        self._threads: list[Any] = []
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
                if again and self._until_accepted(client, study, headers) != job_id:
                    self._report.failures.append("a repetition made another job")
                while len(self._open) >= _AHEAD:
                    self._look(client)
                    time.sleep(0.1)

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


def _check(report: Report, studies: Mapping[str, float], receiver: Receiver, data_dir: Path) -> None:
    """Look behind the interface, once all jobs have ended."""
    deadline = time.monotonic() + _END_SECONDS
    expected = {f"msg_{job_id}" for job_id in studies}
    while not expected <= set(receiver.seen) and time.monotonic() < deadline:
        time.sleep(0.1)
    report.results = sum(1 for _ in (data_dir / "results").iterdir())
    report.messages = len(receiver.seen)
    report.repeated = sum(1 for count in receiver.seen.values() if count > 1)
    if report.graded != report.accepted:
        report.failures.append(f"{report.accepted} jobs were accepted and {report.graded} graded")
    if report.results != report.accepted:
        report.failures.append(f"{report.results} results of {report.accepted} jobs")
    # An upload that was on disk before the gateway was killed, and not in the queue, stays for the sweep.
    if (left := sum(1 for _ in (data_dir / "uploads").iterdir())) > report.refusals:
        report.failures.append(f"{left} uploads are left of {report.refusals} requests that were cut off")
    if set(receiver.seen) != expected:
        report.failures.append(f"{len(receiver.seen)} webhooks of {len(expected)} jobs")
    if any(states != {"succeeded"} for states in receiver.states.values()) or receiver.refused:
        report.failures.append("webhooks that contradict, or are not signed")


def _figures(seconds: list[float]) -> str:
    if not seconds:
        return "–"
    return f"p50 {statistics.median(seconds):.1f} s, max {max(seconds):.1f} s"
