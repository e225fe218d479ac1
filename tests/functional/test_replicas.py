"""Several tritonservers behind one name: requests spread, outlive a server, and know which release answered."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from export.lifecycle import Lifecycle
from gateway.embedded import EmbeddedTriton, State
from gateway.triton_client import TritonClient
from preprocess.grid import Grid, to_grid
from tests.support.repository import first_release, served_again
from training.phantom import PhantomSpec, make_phantom

pytestmark = pytest.mark.functional

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose release 2 is in service: the networks of release 1 under another number."""
    repository = first_release(tmp_path_factory.mktemp("models") / "repository")
    served_again(repository)
    Lifecycle(repository, []).promote(2)
    return repository.root


@pytest.fixture(scope="module")
def replicas(canary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[EmbeddedTriton]]:
    """Two servers with release 1 and a canary with release 2; as Pods, each on an address of its own."""
    first = first_release(tmp_path_factory.mktemp("first") / "repository").root
    servers = [EmbeddedTriton(first, host=host, backoff_seconds=600.0) for host in HOSTS[:2]]
    servers.append(EmbeddedTriton(canary, host=HOSTS[2], backoff_seconds=600.0))
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
        with ThreadPoolExecutor() as pool:
            list(pool.map(EmbeddedTriton.start, servers))
        yield servers


@pytest.fixture
async def client(replicas: list[EmbeddedTriton]) -> AsyncIterator[TritonClient]:
    """Of all of them, as a headless Service's name is resolved."""
    async with TritonClient("ipv4:" + ",".join(server.url for server in replicas)) as connected:
        yield connected


@pytest.fixture(scope="module")
def spine() -> Grid:
    return to_grid(make_phantom(PhantomSpec(slices=1, matrix=(288, 288))).volume)


async def _releases(client: TritonClient, spine: Grid, requests: int) -> Counter[str]:
    """How often each release answered, asked one after the other; what a release consists of must be known."""
    answered: Counter[str] = Counter()
    for _ in range(requests):
        graded = await client.grade(spine)
        models = {model.name: model.version for model in await client.models(graded.release)}
        assert models["lumbar_grading"] == models["disc_grading"] == graded.release
        answered[graded.release] += 1
    return answered


async def test_every_server_gets_its_turn_and_answers_for_its_release(
    replicas: list[EmbeddedTriton], client: TritonClient, spine: Grid
) -> None:
    before = [await _graded(server) for server in replicas]
    answered = await _releases(client, spine, 12)
    shares = [await _graded(server) - count for server, count in zip(replicas, before, strict=True)]
    assert sum(shares) == 12
    assert min(shares) >= 3  # the turns begin anew with each connection that is made
    assert answered == {"1": shares[0] + shares[1], "2": shares[2]}  # a canary's share is that of its replicas


async def test_requests_go_on_when_a_server_dies(
    replicas: list[EmbeddedTriton], client: TritonClient, spine: Grid
) -> None:
    requests = [asyncio.create_task(client.grade(spine)) for _ in range(12)]
    while not any(task.done() for task in requests):
        await asyncio.sleep(0.01)
    in_the_air = sum(not task.done() for task in requests)
    _kill(replicas[1])
    graded = await asyncio.gather(*requests)
    assert in_the_air
    assert all(answer.levels for answer in graded)
    answered = await _releases(client, spine, 8)
    assert set(answered) == {"1", "2"}  # in which shares depends on when the lost one is tried again
    assert [server.state for server in replicas] == [State.READY, State.RESTARTING, State.READY]


async def test_requests_go_on_when_a_server_is_stopped(
    replicas: list[EmbeddedTriton], client: TritonClient, spine: Grid
) -> None:
    requests = [asyncio.create_task(client.grade(spine)) for _ in range(24)]
    while not any(task.done() for task in requests):
        await asyncio.sleep(0.01)
    await asyncio.to_thread(replicas[2].stop)  # as when its Pod is evicted
    graded = await asyncio.gather(*requests)
    assert all(answer.levels for answer in graded)
    assert await _releases(client, spine, 3) == {"1": 3}


async def _graded(server: EmbeddedTriton) -> int:
    async with TritonClient(server.url) as one:
        return (await one.statistics())["lumbar_grading"].requests


def _kill(server: EmbeddedTriton) -> None:
    host = server.url.rpartition(":")[0]
    (process,) = (
        process
        for process in psutil.Process().children(recursive=True)
        if process.name() == "tritonserver" and f"--grpc-address={host}" in process.cmdline()
    )
    os.kill(process.pid, signal.SIGKILL)
