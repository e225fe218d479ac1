"""Clients that have studies graded over REST, over gRPC and as jobs, one after the other, until told to stop."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from discgrade._retry import Retry
from discgrade.client import Client
from discgrade.errors import DiscgradeError, InferenceFailed
from discgrade.grpc_client import GrpcClient
from discgrade.result import GradingResult
from tests.faults.house import House
from training.phantom import PhantomSpec, make_phantom, write_nifti

__all__ = ["WAYS", "Answer", "Clients"]

WAYS = ("REST", "gRPC", "job")
_AGAIN_EVERY = 5
"""Each client sends every fifth study twice."""
_RETRY = Retry(attempts=60)
"""As often as a restart of tritonserver may take on a slow machine; the API asks for it with Retry-After."""
_WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Answer:
    """One study that was graded.

    Attributes:
        way: One of :data:`WAYS`.
        study: Its number; the same one twice where it was sent again.
        sent: The phase in which it was sent.
        answered: The phase in which it was answered.
        release: Which graded it.
        members: Version of each model that answered, by name.
        seconds: From sending to the answer.
        discs: How many were found.
    """

    way: str
    study: int
    sent: str
    answered: str
    release: str
    members: tuple[tuple[str, str], ...]
    seconds: float
    discs: int


class Clients:
    """Keep the house busy.

    Args:
        house: Where they go.
        folder: For files.
        each: Clients of each way.
    """

    def __init__(self, house: House, folder: Path, each: int) -> None:
        self._house = house
        self._folder = folder
        self._each = each
        self._volume = make_phantom(PhantomSpec(slices=1, matrix=(288, 288))).volume
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads: list[Future[None]] = []
        self._next = 0
        self.phase = ""
        """Of everything that is sent from now on."""
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        """Studies that were not graded, and why."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Send studies as long as the block; what was sent is answered when it ends."""
        with ThreadPoolExecutor(self._each * len(WAYS)) as pool:
            self._threads = [pool.submit(self._run, way) for way in WAYS for _ in range(self._each)]
            try:
                yield
            finally:
                self._stop.set()
        for thread in self._threads:
            thread.result()

    def within(self, phase: str) -> list[Answer]:
        """Studies that were both sent and answered in a phase."""
        return [answer for answer in self.answers if answer.sent == answer.answered == phase]

    def more(self, count: int, releases: set[str]) -> None:
        """Wait until so many studies were sent and answered in this phase, in each way and by each release some."""

        def enough() -> bool:
            if any(thread.done() for thread in self._threads):
                return True
            here = self.within(self.phase)
            ways, graders = {answer.way for answer in here}, {answer.release for answer in here}
            return len(here) >= count and ways == set(WAYS) and releases <= graders

        with self._changed:
            in_time = self._changed.wait_for(enough, _WAIT_SECONDS)
        for thread in self._threads:
            if thread.done():
                thread.result()
        assert in_time, f"after {_WAIT_SECONDS:g} s: {len(self.within(self.phase))} studies, {self.failures}"

    def _run(self, way: str) -> None:
        try:
            with Client(self._house.url, retry=_RETRY) as rest, GrpcClient(self._house.grpc, retry=_RETRY) as grpc:

                def by_job(study: list[Path]) -> GradingResult:
                    job = rest.wait(rest.submit(study).job_id)
                    if job.result_id is None:
                        raise InferenceFailed(f"The job {job.state}.")
                    return rest.result(job.result_id)

                ways: dict[str, Callable[[list[Path]], GradingResult]] = {
                    "REST": rest.grade,
                    "gRPC": grpc.grade,
                    "job": by_job,
                }
                while not self._stop.is_set():
                    self._send(way, ways[way])
        finally:
            with self._changed:
                self._changed.notify_all()

    def _send(self, way: str, grade: Callable[[list[Path]], GradingResult]) -> None:
        with self._changed:
            self._next += 1
            number = self._next
        path = self._study(number)
        for _ in range(2 if number % _AGAIN_EVERY == 0 else 1):
            sent, started = self.phase, time.monotonic()
            try:
                result = grade([path])
            except DiscgradeError as error:
                with self._changed:
                    self.failures.append(f"{way}, in {sent}: {error.slug}: {error.detail}")
                continue
            seconds = time.monotonic() - started
            members = tuple((model.name, model.version) for model in result.models)
            with self._changed:
                self.answers.append(
                    Answer(way, number, sent, self.phase, members[0][1], members, seconds, len(result.discs))
                )
                self._changed.notify_all()
        path.unlink()

    def _study(self, number: int) -> Path:
        """The same patient, imaged again: with other noise."""
        noise = np.random.default_rng(number).normal(0.0, 8.0, self._volume.array.shape)
        array = np.clip(np.rint(self._volume.array + noise), 0, 32767).astype(np.float32)
        return write_nifti(dataclasses.replace(self._volume, array=array), self._folder / f"{number}.nii.gz")
