"""Records what tritonserver's metrics say while it idles, keeps up, falls behind and recovers: ``python -m …``.

Writes ``data/overload.om.gz``, OpenMetrics text with times, which ``promtool tsdb create-blocks-from openmetrics``
turns into a database that the autoscaling queries are asked against. Takes ten minutes.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

from gateway.embedded import EmbeddedTriton
from gateway.triton_client import TritonClient
from preprocess.grid import to_grid
from training.phantom import PhantomSpec, make_phantom

RECORDING = Path(__file__).parent / "data" / "overload.om.gz"
PHASES = (("idle", 0, 90), ("light", 1, 150), ("overload", 8, 180), ("idle again", 0, 180))
"""Name, studies at a time, seconds."""
SCRAPE_SECONDS = 5.0
TARGET = 'namespace="discgrade",pod="discgrade-triton-0"'
_SAMPLE = re.compile(r"^(nv_inference_(?:request_success|queue_duration_us|count)){(.*)} (\d+)$")


async def record(triton: EmbeddedTriton) -> dict[str, list[str]]:
    """Samples by family, in order of time."""
    spine = to_grid(make_phantom(PhantomSpec(slices=9)).volume)
    samples: dict[str, list[str]] = defaultdict(list)
    async with TritonClient(triton.url) as client:

        async def study_after_study(until: float) -> None:
            while time.monotonic() < until:
                await client.grade(spine)

        async def scrape() -> None:
            while True:
                text = await asyncio.to_thread(lambda: urllib.request.urlopen(triton.metrics_url).read().decode())
                for line in text.splitlines():
                    if found := _SAMPLE.match(line):
                        samples[found[1]].append(f"{found[1]}{{{found[2]},{TARGET}}} {found[3]} {time.time():.3f}")
                await asyncio.sleep(SCRAPE_SECONDS)

        scraping = asyncio.create_task(scrape())
        for name, at_once, seconds in PHASES:
            print(name, flush=True)
            until = time.monotonic() + seconds
            await asyncio.gather(*(study_after_study(until) for _ in range(at_once)))
            await asyncio.sleep(max(0.0, until - time.monotonic()))
        scraping.cancel()
    return samples


def main() -> None:
    """Record and write."""
    with EmbeddedTriton() as triton:
        samples = asyncio.run(record(triton))
    lines = [line for family, ours in samples.items() for line in (f"# TYPE {family} unknown", *ours)]
    RECORDING.parent.mkdir(exist_ok=True)
    RECORDING.write_bytes(gzip.compress(("\n".join([*lines, "# EOF"]) + "\n").encode(), mtime=0))


if __name__ == "__main__":
    main()
