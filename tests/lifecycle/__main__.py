"""``make lifecycle``: a release added, tried on a share, promoted, rolled back, and a broken one, under load."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from pathlib import Path

from gateway import logs
from tests.lifecycle.run import run

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--studies", type=int, default=150, help="graded in each phase, at least")
parser.add_argument("--clients", type=int, default=2, help="of each way: REST, gRPC and jobs")
chosen = parser.parse_args()

logs.configure(logging.CRITICAL)
started = time.monotonic()
report = run(chosen.studies, chosen.clients)
(cpu,) = {
    line.partition(":")[2].strip()
    for line in Path("/proc/cpuinfo").read_text().splitlines()
    if line.startswith("model name")
} or {platform.machine()}
conditions = (
    f"`make lifecycle`: {chosen.clients} clients each over REST, over gRPC and with jobs, that never pause; a gateway, "
    "a worker and a tritonserver, each a process of its own; a study is a phantom of one slice. "
    f"{len(os.sched_getaffinity(0))} cores, {cpu}, Python {platform.python_version()}; "
    f"{time.monotonic() - started:.0f} s. A change lasts until it is done and every gateway and worker knows of it; "
    "times are those of REST and gRPC."
)
text = "\n".join(["# Releases under load", "", conditions, "", *report.lines()])
print(text)
(RESULTS / "lifecycle.md").write_text(text)
(RESULTS / "lifecycle.json").write_text(report.json() + "\n")
sys.exit(bool(report.failures))
