"""Under more load than there is room for, when clients leave, and when the server is told to stop."""

from __future__ import annotations

import asyncio
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.app import create_app
from gateway.embedded import EmbeddedTriton
from gateway.settings import Settings
from gateway.triton_client import TritonClient
from preprocess.grid import Grid, to_grid
from tests.functional.test_serve import Serving
from tests.support.raw_http import RawRequest
from tests.support.server import running_server
from tests.support.studies import write_study
from training.phantom import PhantomSpec, make_phantom

pytestmark = pytest.mark.functional

SLICES = 41


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    phantom = make_phantom(PhantomSpec(slices=3, matrix=(256, 256)))
    return [("files", path.read_bytes()) for path in write_study(phantom, tmp_path_factory.mktemp("study"), "dicom")]


@pytest.fixture
def serving(triton: EmbeddedTriton, tmp_path: Path) -> Iterator[Serving]:
    server = Serving(tmp_path / "data", "--triton-url", triton.url)
    yield server
    if server.process.poll() is None:
        server.end(signal.SIGKILL)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_drains_before_it_stops(serving: Serving, files: list[tuple[str, bytes]]) -> None:
    with RawRequest(f"{serving.url}/v1/grade", files) as slow:
        slow.send(0.5)
        wait_for(lambda: "discgrade_grade_in_flight 1.0" in httpx.get(f"{serving.url}/metrics").text)
        serving.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{serving.url}/readyz").status_code == 503)
        assert httpx.get(f"{serving.url}/livez").status_code == 200  # restarting it would lose what is in flight
        refused = httpx.post(f"{serving.url}/v1/grade", files=files, timeout=60)
        assert refused.json()["type"] == "urn:discgrade:problem:overloaded"
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        slow.send()
        assert b" 201 " in slow.head().splitlines()[0]
    assert serving.finish() == 0
    events = [entry["event"] for entry in serving.entries()]
    assert "draining" in events


def test_it_stays_for_the_drain_time_unless_told_twice(
    triton: EmbeddedTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCGRADE_DRAIN_SECONDS", "3600")
    monkeypatch.setenv("DISCGRADE_SHUTDOWN_SECONDS", "3600")
    serving = Serving(tmp_path / "data", "--triton-url", triton.url)
    serving.process.send_signal(signal.SIGTERM)
    wait_for(lambda: httpx.get(f"{serving.url}/readyz").status_code == 503)
    assert serving.process.poll() is None
    assert serving.end(signal.SIGTERM) == 0


@pytest.fixture
def narrow(triton: EmbeddedTriton, tmp_path: Path) -> Iterator[str]:
    """A server with room for one small study, and nobody waiting."""
    settings = Settings(data_dir=tmp_path / "data", admission_slices=2, admission_queue_slices=0)
    with running_server(create_app(settings, lambda: TritonClient(triton.url))) as url:
        yield url


def test_a_full_house_refuses_before_the_body_is_sent(narrow: str, files: list[tuple[str, bytes]]) -> None:
    with RawRequest(f"{narrow}/v1/grade", files) as first:
        first.send(0.5)
        wait_for(lambda: "discgrade_grade_in_flight 1.0" in httpx.get(f"{narrow}/metrics").text)
        with RawRequest(f"{narrow}/v1/grade", files, expect=True) as polite:
            told = polite.head()
        assert told.startswith(b"HTTP/1.1 503")  # and not 100 Continue
        assert re.search(rb"(?i)\r\nretry-after: \d+\r\n", told)
        impolite = httpx.post(f"{narrow}/v1/grade", files=files, timeout=60)
        assert impolite.json()["type"] == "urn:discgrade:problem:overloaded"
        first.send()
        assert b" 201 " in first.head().splitlines()[0]
    with RawRequest(f"{narrow}/v1/grade", files, expect=True) as polite:
        assert polite.head().startswith(b"HTTP/1.1 100")
        polite.send()
        assert b" 201 " in polite.head().splitlines()[0]


@pytest.fixture(scope="module")
def large() -> tuple[Grid, list[tuple[str, bytes]]]:
    phantom = make_phantom(PhantomSpec(slices=SLICES, matrix=(320, 320)))
    with tempfile.TemporaryDirectory() as folder:
        written = write_study(phantom, Path(folder), "zip")
        return to_grid(phantom.volume), [("files", path.read_bytes()) for path in written]


async def test_a_client_that_leaves_is_cancelled_in_triton(
    triton: EmbeddedTriton, tmp_path: Path, large: tuple[Grid, list[tuple[str, bytes]]]
) -> None:
    """Triton is busy with two studies; a third waits in its queue, and its client leaves.

    An ensemble's first member does not hear of the cancellation (triton-inference-server/server#6739), and the crops
    are not queued: the third is still segmented, but no longer graded.
    """
    grid, files = large

    def waiting() -> bool:
        metrics = httpx.get(triton.metrics_url).text
        found = re.search(r'nv_inference_pending_request_count\{model="disc_segmentation"[^}]*\} (\d+)', metrics)
        return found is not None and int(found[1]) >= 2

    def cancelled() -> int:
        metrics = httpx.get(triton.metrics_url).text
        found = re.findall(r'nv_inference_request_failure\{[^}]*reason="CANCELED"[^}]*\} (\d+)', metrics)
        return sum(map(int, found))

    def gone(url: str) -> bool:
        return 'outcome="client-closed-request"} 1.0' in httpx.get(f"{url}/metrics").text

    settings = Settings(data_dir=tmp_path / "data")
    async with TritonClient(triton.url) as client:
        with running_server(create_app(settings, lambda: TritonClient(triton.url))) as url:
            before, stopped_before = await client.statistics(), cancelled()
            ahead = [asyncio.create_task(client.grade(grid)) for _ in range(2)]
            with RawRequest(f"{url}/v1/grade", files) as request:
                request.send()
                await asyncio.to_thread(wait_for, waiting)
            await asyncio.to_thread(wait_for, lambda: gone(url))
            await asyncio.gather(*ahead)
            await client.grade(grid)  # comes after the third in every queue
            after = await client.statistics()
        stopped = cancelled() - stopped_before
    assert after["lumbar_grading"].requests - before["lumbar_grading"].requests == 3
    assert stopped == 1
