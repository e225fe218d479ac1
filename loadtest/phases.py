"""Runs Locust, in a process of its own: it changes how Python's sockets and threads work."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.records import GRADE_ROUTES, JOB, Record, read_records
from loadtest.server import Target

__all__ = ["Loader", "Phase"]

_ROOT = Path(__file__).parents[1]
_FINISH_SECONDS = 900
"""For what was begun to end."""


@dataclass(frozen=True)
class Phase:
    """A while under one kind of load.

    Attributes:
        name: Of its files.
        title: What the load was.
        began: When its first study was sent or arrived, in s of the monotonic clock.
        seconds: How long studies were sent or arrived.
        records: All requests that belong to these studies, later ones included.
        generator_cores: Mean number of cores that the load generator used.
    """

    name: str
    title: str
    began: float
    seconds: float
    records: Sequence[Record]
    generator_cores: float

    @property
    def sent_per_second(self) -> float:
        """Studies sent or arrived."""
        return sum(_sends(record) for record in self.records) / self.seconds

    @property
    def done_per_second(self) -> float:
        """Studies that were graded, or read and refused, within the phase, whichever way they came."""
        end = self.began + self.seconds
        done = [r for r in self.records if r.outcome in {"ok", "refused"} and r.route in (*GRADE_ROUTES, JOB)]
        return sum(record.start + record.seconds <= end for record in done) / self.seconds

    @property
    def latest(self) -> float:
        """Most seconds by which the load generator was late."""
        return max((record.late for record in self.records if _sends(record)), default=0.0)

    def waited(self, *outcomes: str) -> list[float]:
        """Latencies in s of the studies that their senders waited for, of these outcomes."""
        return [r.seconds for r in self.records if r.route in GRADE_ROUTES and r.outcome in outcomes]


def _sends(record: Record) -> bool:
    return record.route in (*GRADE_ROUTES, "POST /v1/jobs")


class Loader:
    """Puts load on a server.

    Args:
        target: The server.
        mix: Name of one of :data:`loadtest.studies.MIXES`.
        out: Folder for Locust's own reports and the records.
        cache: Folder of the studies.
    """

    def __init__(self, target: Target, mix: str, out: Path, cache: Path) -> None:
        self._target = target
        self._mix = mix
        self._out = out.absolute()
        self._cache = cache.absolute()
        self._seed = 0

    def closed(
        self, name: str, *, users: int, think: float = 0.0, seconds: float | None = None, studies: int | None = None
    ) -> Phase:
        """Users who each send a study, wait for it, think, and send the next one.

        Args:
            name: Of the phase's files.
            users: How many: half of them by REST, a third by jobs, the others by gRPC.
            think: Mean pause in s.
            seconds: How long; or
            studies: How many in all.
        """
        ways = ["RestUser", "JobUser", *(["GrpcUser"] if self._target.grpc else [])]
        options = [*ways, "--users", str(users), "--spawn-rate", str(users), "--think", str(think)]
        options += ["--run-time", f"{seconds:.0f}s"] if seconds else ["--studies", str(studies)]
        pause = f" who pause {think:g} s" if think else " without pause"
        return self._run(name, f"closed loop, {users} users{pause}", options, seconds)

    def open(self, name: str, *, rate: float, seconds: float) -> Phase:
        """Studies that arrive at random, whether or not earlier ones were answered.

        Args:
            name: Of the phase's files.
            rate: Mean studies a second.
            seconds: How long.
        """
        options = ["Arrivals", "--users", "1", "--rate", f"{rate:.4f}", "--seconds", f"{seconds:.0f}"]
        return self._run(name, f"open loop, {rate:.2f} studies a second", options, seconds)

    def _run(self, name: str, title: str, options: list[str], seconds: float | None) -> Phase:
        print(f"{name}: {title}", flush=True)
        self._out.mkdir(parents=True, exist_ok=True)
        self._seed += 1
        base = self._out / name
        records = base.with_suffix(".requests.csv")
        command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", *options]
        command += ["--host", self._target.url, "--grpc", self._target.grpc, "--mix", self._mix]
        command += ["--seed", str(self._seed), "--records", str(records)]
        command += ["--headless", "--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0"]
        command += ["--stop-timeout", str(_FINISH_SECONDS), "--html", str(base.with_suffix(".html"))]
        command += ["--csv", str(base), "--cache", str(self._cache)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        with base.with_suffix(".log").open("w") as log:
            subprocess.run(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        made = read_records(records)
        first, last = made[0].start, max(record.start + record.seconds for record in made)
        return Phase(name, title, first, seconds or last - first, made, cpu / wall)
