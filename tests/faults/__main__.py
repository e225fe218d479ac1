"""``make faults``: kill gateway, workers and tritonserver at random moments while jobs are handed in and graded."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from contextlib import ExitStack

from gateway import logs
from tests.faults.run import run
from tests.support.postgres import running_postgres

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--jobs", type=int, default=500, help="studies handed in at least")
parser.add_argument("--kills", type=int, default=50, help="processes killed")
parser.add_argument("--seed", type=int, default=1, help="chooses what is killed when")
parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite", help="where jobs are kept")
chosen = parser.parse_args()

logs.configure(logging.ERROR)
started = time.monotonic()
with ExitStack() as stack:
    environment = {}
    if chosen.database == "postgres":
        environment["DISCGRADE_JOBS_DATABASE"] = stack.enter_context(running_postgres()).url
    report = run(chosen.jobs, chosen.kills, chosen.seed, environment)
print(f"{chosen.database}, seed {chosen.seed}, {time.monotonic() - started:.0f} s")
print("\n".join(report.lines()))
sys.exit(bool(report.failures))
