"""Locust's users: REST, jobs and gRPC, in a closed loop (users who think) or an open one (studies that arrive).

Run by ``python -m loadtest``, or with Locust's own page: ``locust -f loadtest/locustfile.py --host URL``.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import gevent
import grpc.experimental.gevent
from gevent.pool import Pool
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import STATE_STOPPED, STATE_STOPPING

from discgrade.grpc_client import Tls
from loadtest.arrivals import poisson_arrivals
from loadtest.records import Record, RecordWriter
from loadtest.studies import MIXES, Draw, draws, make_studies
from loadtest.visits import GrpcVisits, HttpVisits, JobVisits, Visits

_HERE = Path(__file__).parent
_COME_BACK = frozenset({"overloaded", "limited"})
_MOST_TRIES = 10


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group("discgrade")
    group.add_argument("--mix", choices=sorted(MIXES), default="hospital", help="What studies are like.")
    group.add_argument("--studies", type=int, default=0, help="End after so many studies; 0 goes on.")
    group.add_argument("--cache", default=str(_HERE / "out" / "studies"), help="Folder of the phantoms.")
    group.add_argument("--grpc", default="", help="host:port of the gRPC service; TLS where the host is https.")
    group.add_argument("--think", type=float, default=0.0, help="Closed loop: mean seconds between two studies of one.")
    group.add_argument("--rate", type=float, default=1.0, help="Open loop: mean studies a second.")
    group.add_argument("--seconds", type=float, default=60.0, help="Open loop: how long studies arrive.")
    group.add_argument("--seed", type=int, default=0, help="Of studies, arrivals and pauses.")
    group.add_argument("--records", default="", help="CSV file with one row a request.")


class _House:
    """What all users of this process share."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        options = cast(Namespace, environment.parsed_options)
        self._fire = environment.events.request.fire
        self.writer = RecordWriter(Path(options.records)) if options.records else None
        key, host = os.environ.get("DISCGRADE_API_KEY"), environment.host or ""
        self.rest: Visits = HttpVisits(host, key, self.report)
        self.jobs: Visits = JobVisits(host, key, self.report)
        tls = Tls() if host.startswith("https:") else None
        self.grpc: Visits | None = GrpcVisits(options.grpc, tls, key, self.report) if options.grpc else None
        mix = MIXES[options.mix]
        self.rng = random.Random(options.seed)
        drawn = draws(mix, make_studies(mix, Path(options.cache)), random.Random(options.seed))
        self.draws: Iterator[Draw] = itertools.islice(drawn, options.studies or None)

    def end(self) -> NoReturn:
        """End the run, once everybody has finished what they do; the caller is finished."""
        runner = self._environment.runner
        assert runner is not None
        if runner.state not in {STATE_STOPPING, STATE_STOPPED}:
            gevent.spawn(runner.quit)
        raise StopUser

    def report(self, record: Record, size: int) -> None:
        """To Locust's own statistics, each outcome by itself, and to our records."""
        method, _, path = record.route.rpartition(" ") if "/" in record.route else ("gRPC", "", record.route)
        self._fire(  # type: ignore[no-untyped-call]
            request_type=method,
            name=path if record.outcome == "ok" else f"{path} ({record.outcome})",
            response_time=record.seconds * 1000,
            response_length=size,
            exception=RuntimeError(record.reason) if record.outcome == "failed" else None,
            context={},
        )
        if self.writer is not None:
            self.writer.write(record)


_houses: dict[Environment, _House] = {}


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _open(environment: Environment, **_: Any) -> None:
    grpc.experimental.gevent.init_gevent()
    _houses[environment] = _House(environment)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _close(environment: Environment, **_: Any) -> None:
    if (house := _houses.get(environment)) is not None and house.writer is not None:
        house.writer.close()


class _Caller(User):
    """Closed loop: sends a study, does what its sender does, thinks, sends the next one."""

    abstract = True
    way: Callable[[_House], Visits | None]

    def wait_time(self) -> float:
        """Exponential, so that users do not march in step."""
        think = cast(Namespace, self.environment.parsed_options).think
        return _houses[self.environment].rng.expovariate(1 / think) if think else 0.0

    @task
    def send(self) -> None:
        """One study; who is told to come back does so."""
        house = _houses[self.environment]
        visits, draw = type(self).way(house), next(house.draws, None)
        if visits is None:
            raise StopUser
        if draw is None:
            house.end()
        for _ in range(_MOST_TRIES):
            answer = visits.visit(draw, time.monotonic())
            if answer.outcome not in _COME_BACK:
                break
            gevent.sleep(answer.retry_after_seconds)


class RestUser(_Caller):
    """Waits for each study over HTTP."""

    weight = 5
    way = staticmethod(lambda house: house.rest)


class GrpcUser(_Caller):
    """Waits for each study over gRPC."""

    weight = 2
    way = staticmethod(lambda house: house.grpc)


class JobUser(_Caller):
    """Hands studies in as jobs."""

    weight = 3
    way = staticmethod(lambda house: house.jobs)


class Arrivals(User):
    """Open loop: studies arrive whether or not earlier ones were answered; nobody waits for anybody else.

    Latency counts from the arrival, also where the load generator was late, so that waits are not hidden (coordinated
    omission). Who is told to come back does not.
    """

    fixed_count = 1

    @task
    def arrive(self) -> None:
        """The whole run."""
        house = _houses[self.environment]
        options = cast(Namespace, self.environment.parsed_options)
        ways = [(RestUser.weight, house.rest), (GrpcUser.weight, house.grpc), (JobUser.weight, house.jobs)]
        open_ways = [(weight, way) for weight, way in ways if way is not None]
        pool, begin = Pool(), time.monotonic()
        for offset in poisson_arrivals(options.rate, options.seconds, house.rng):
            draw = next(house.draws, None)
            if draw is None:
                break
            (way,) = house.rng.choices([way for _, way in open_ways], [weight for weight, _ in open_ways])
            gevent.sleep(max(begin + offset - time.monotonic(), 0))
            pool.spawn(way.visit, draw, begin + offset)
        pool.join()
        house.end()
