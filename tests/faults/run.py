"""Submits jobs while processes are killed, and checks that what was accepted was graded, once."""

from __future__ import annotations

import collections
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.faults.clients import Clients
from tests.faults.house import House
from tests.faults.receiver import Receiver
from tests.faults.report import Report

__all__ = ["run"]

_DOWN_AT_ONCE = 2
_FAILING = 0.1
_MESSAGES_SECONDS = 600.0


def run(jobs: int, kills: int, seed: int, environment: Mapping[str, str] | None = None) -> Report:
    """Hand in studies and kill processes until both numbers are reached, then wait and count.

    Args:
        jobs: Studies handed in at least.
        kills: Processes killed.
        seed: Chooses what is killed when.
        environment: Settings of the processes, such as the database.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="discgrade-faults-") as folder, Receiver(_FAILING, seed) as receiver:
        data_dir = Path(folder) / "data"
        settings = {
            "DISCGRADE_WEBHOOK_SECRET": receiver.secret,
            "DISCGRADE_WEBHOOK_ALLOW_PRIVATE": "true",
            "DISCGRADE_WEBHOOK_RETRY_SECONDS": "1",
            "DISCGRADE_RATE_LIMIT": "100000/minute",
            **(environment or {}),
        }
        with House(data_dir, settings) as house:
            clients = Clients(house.url, receiver.url, Path(folder), report, seed)
            with clients.handing_in(jobs):
                _kill(house, clients, report, jobs, kills, seed)
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


def _kill(house: House, clients: Clients, report: Report, jobs: int, kills: int, seed: int) -> None:
    """Kill as planned, spread over all of the jobs; two may be down at once, but no third."""
    locks: dict[str, threading.Lock] = collections.defaultdict(threading.Lock)

    def kill(name: str) -> None:
        with locks[name]:
            report.recoveries[name].append(house.kill(name))

    with ThreadPoolExecutor(_DOWN_AT_ONCE) as pool:
        down: set[Future[None]] = set()
        for number, (wait, name) in enumerate(_plan(house.names, kills, seed)):
            while report.accepted * kills < number * jobs:
                clients.check()
                time.sleep(0.05)
            time.sleep(wait)
            if len(down) == _DOWN_AT_ONCE:
                done, down = futures.wait(down, return_when=futures.FIRST_COMPLETED)
                for killed in done:
                    killed.result()
            down.add(pool.submit(kill, name))
        for killed in down:
            killed.result()


def _check(report: Report, studies: Mapping[str, float], receiver: Receiver, data_dir: Path) -> None:
    """Look behind the interface, once all jobs have ended."""
    deadline = time.monotonic() + _MESSAGES_SECONDS
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
