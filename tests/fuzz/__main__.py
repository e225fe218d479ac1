"""``python -m tests.fuzz``: thousands of damaged uploads against a server started for it.

Ends with 1 if any is answered with a 5xx, with nothing, or with something else than a result or a problem document, if
anything of an upload is left on disk, or if the server's memory keeps growing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.fuzz.attack import Findings, bombard, explore
from tests.fuzz.corpus import make_case
from tests.fuzz.target import guarded, leftovers

SAMPLES = 40
GROWTH, SLACK_MIB = 1.15, 64
"""Most that memory may grow from the second quarter of the run to the last: its peak times this, and this more."""

out = Console(highlight=False)


class Watch:
    """Samples the memory of the server's processes, and shows how far the run is."""

    def __init__(self, uploads: int) -> None:
        self._every = max(1, uploads // SAMPLES)
        self._uploads = uploads
        self._started = time.monotonic()
        self.samples: list[tuple[int, float, float]] = []

    def __call__(self, findings: Findings) -> None:
        """Note the memory now and then."""
        if findings.uploads % self._every:
            return
        gateway, triton = memory_mib()
        self.samples.append((findings.uploads, gateway, triton))
        rate = findings.uploads / (time.monotonic() - self._started)
        out.print(
            f"{findings.uploads:6} of {self._uploads}  {rate:5.1f}/s  gateway {gateway:5.0f} MiB  "
            f"tritonserver {triton:5.0f} MiB  graded {findings.outcomes['graded']}  wrong {len(findings.wrong)}",
            soft_wrap=True,
        )

    def grows(self) -> bool:
        """Whether the last quarter of the run needed more memory than the second."""
        quarter = len(self.samples) // 4
        if not quarter:
            return False
        for column in (1, 2):
            early = max(sample[column] for sample in self.samples[quarter : 2 * quarter])
            late = max(sample[column] for sample in self.samples[-quarter:])
            if late > early * GROWTH + SLACK_MIB:
                return True
        return False


def memory_mib() -> tuple[float, float]:
    """Resident memory of the gateway, and of tritonserver with its stubs."""
    gateway = triton = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            size, command = child.memory_info().rss / 2**20, " ".join(child.cmdline())
        except psutil.Error:
            continue
        if "discgrade serve" in command:
            gateway += size
        else:
            triton += size
    return gateway, triton


def report(findings: Findings, left: list[str], watch: Watch, seconds: float) -> int:
    """Print what happened; returns the exit status."""
    table = Table("Outcome", "Uploads", title=f"{findings.uploads} uploads in {seconds:.0f} s")
    for outcome, count in findings.outcomes.most_common():
        table.add_row(outcome, str(count))
    out.print(table)
    for number, origin, fault in findings.wrong:
        out.print(f"WRONG  case {number} ({origin}): {fault}", soft_wrap=True)
    for what in left:
        out.print(f"LEFT   {what}")
    if watch.grows():
        out.print("GROWS  the server's memory keeps growing")
    return int(bool(findings.wrong or left or watch.grows()))


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other cases")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--examples", type=int, default=200, help="for each operation of the API description")
    parser.add_argument("--write", type=Path, help="only write the body of the first case to this file")
    options = parser.parse_args()
    if options.write:
        case = make_case(options.first, options.seed)
        options.write.write_bytes(case.body)
        out.print(case.origin)
        return 0
    with tempfile.TemporaryDirectory() as folder, guarded(Path(folder)) as (url, key):
        explored = explore(url, key, Path(folder), options.examples)
        if explored.returncode:
            out.print(explored.stdout, soft_wrap=True, markup=False)
        started, watch = time.monotonic(), Watch(options.uploads)
        numbers = iter(range(options.first, options.first + options.uploads))
        findings = asyncio.run(
            bombard(url, key, numbers, seed=options.seed, connections=options.connections, tick=watch)
        )
        left = leftovers(Path(folder) / "data", findings.outcomes["graded"])
        status = max(explored.returncode, report(findings, left, watch, time.monotonic() - started))
        if findings.wrong:
            log = Path(folder, "log").read_text().splitlines()
            out.print("\n".join(line for line in log if '"error"' in line), soft_wrap=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
