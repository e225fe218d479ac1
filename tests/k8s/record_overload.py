"""Records what tritonserver's metrics say while callers idle, keep it busy, are too many, and leave: ``python -m …``.

They call the gateway, whose admission bounds what waits in tritonserver. Writes ``data/overload.om.gz``, OpenMetrics
text with times, which ``promtool tsdb create-blocks-from openmetrics`` turns into a database that the autoscaling
queries are asked against. Takes six minutes.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx

from discgrade._process import serving
from discgrade._retry import Retry
from discgrade.client import AsyncClient
from discgrade.errors import Overloaded
from training.phantom import PhantomSpec, make_phantom, write_dicom, write_zip

RECORDING = Path(__file__).parent / "data" / "overload.om.gz"
PHASES = (("idle", 0, 60), ("light", 1, 75), ("overload", 24, 150), ("idle again", 0, 75))
"""Name, callers who each send study after study, seconds."""
SCRAPE_SECONDS = 5.0
TARGET = 'namespace="discgrade",pod="discgrade-triton-0"'
_SAMPLE = re.compile(r"^(nv_inference_(?:request_success|queue_duration_us|count)){(.*)} (\d+)$")


async def record(url: str, study: Path) -> dict[str, list[str]]:
    """Samples by family, in order of time.

    Args:
        url: Of a gateway with a tritonserver of its own.
        study: What callers send.
    """
    samples: dict[str, list[str]] = defaultdict(list)
    async with (
        AsyncClient(url, transport=httpx.AsyncHTTPTransport(), retry=Retry(attempts=1)) as client,
        httpx.AsyncClient(base_url=url, transport=httpx.AsyncHTTPTransport()) as metrics,
    ):

        async def study_after_study(until: float) -> None:
            while time.monotonic() < until:
                try:
                    await client.grade([study])
                except Overloaded as error:
                    await asyncio.sleep(min(error.retry_after_seconds or 1.0, max(until - time.monotonic(), 0.0)))

        async def scrape() -> None:
            while True:
                text = (await metrics.get("/metrics/triton")).raise_for_status().text
                for line in text.splitlines():
                    if found := _SAMPLE.match(line):
                        samples[found[1]].append(f"{found[1]}{{{found[2]},{TARGET}}} {found[3]} {time.time():.3f}")
                await asyncio.sleep(SCRAPE_SECONDS)

        scraping = asyncio.create_task(scrape())
        for name, callers, seconds in PHASES:
            print(name, flush=True)
            until = time.monotonic() + seconds
            await asyncio.gather(*(study_after_study(until) for _ in range(callers)))
            await asyncio.sleep(max(0.0, until - time.monotonic()))
        scraping.cancel()
    return samples


def main() -> None:
    """Record and write."""
    with tempfile.TemporaryDirectory(prefix="discgrade-overload-") as name:
        folder = Path(name)
        study = write_zip(write_dicom(make_phantom(PhantomSpec()), folder / "study"), folder / "study.zip")
        (folder / "server").mkdir()
        with serving(folder / "server", "--no-worker") as server, server.client() as client:
            client.grade([study])
            samples = asyncio.run(record(server.url(), study))
    lines = [line for family, ours in samples.items() for line in (f"# TYPE {family} unknown", *ours)]
    RECORDING.parent.mkdir(exist_ok=True)
    RECORDING.write_bytes(gzip.compress(("\n".join([*lines, "# EOF"]) + "\n").encode(), mtime=0))


if __name__ == "__main__":
    main()
