"""``discgrade batch`` over many phantom studies, killed twice on the way, through a real server and tritonserver.

Checks that every study was graded exactly once, and shows how long it took and how memory went.
Writes ``benchmarks/results/batch.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import psutil

import discgrade
from discgrade._process import serving
from training.phantom import PhantomSpec, make_phantom, write_dicom, write_nifti, write_zip

RESULTS = Path(__file__).parent / "results"
KILLS = (0.3, 0.65)
"""Share of the studies after which the client is killed."""
SAMPLE_SECONDS = 1.0
MIB = 1024 * 1024
CURVE_POINTS = 20


@dataclass
class Memory:
    """Resident memory over time, MiB; of a process and its children without what Triton's processes hold."""

    seconds: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    triton: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """What the run showed."""

    discgrade: str
    machine: str
    studies: int
    bad_studies: int
    kills: int
    graded: int
    graded_by_server: int
    seconds: float
    studies_per_minute: float
    memory: Memory


def make_studies(root: Path, count: int) -> int:
    """Write the studies, as DICOM, zip and NIfTI in turn, and some that cannot be graded; returns how many of those."""
    bad = 0
    for number in range(count):
        # The seed makes the UIDs too, so every study is another one; few and small slices keep it quick.
        spec = PhantomSpec(seed=number, slices=3, pixel_mm=1.0, matrix=(256, 200))
        phantom, folder = make_phantom(spec), root / f"{number // 100:02d}" / f"{number:04d}"
        folder.mkdir(parents=True)
        if number % 50 == 49:
            (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b\x08\x00 cut off")
            bad += 1
        elif number % 3 == 0:
            write_dicom(phantom, folder)
        elif number % 3 == 1:
            with tempfile.TemporaryDirectory() as loose:
                write_zip(write_dicom(phantom, Path(loose)), folder / "study.zip")
        else:
            write_nifti(phantom, folder / "study.nii.gz")
    return bad


def graded_so_far(url: str) -> int:
    """Jobs the server graded to a result."""
    for line in httpx.get(f"{url}/metrics", timeout=60).text.splitlines():
        if line.startswith('discgrade_jobs_ended_total{outcome="ok"}'):
            return int(float(line.split()[-1]))
    raise AssertionError("the server counts no jobs")


def resident_mib(process: psutil.Process) -> tuple[float, float]:
    """Memory of a process, and of all below it, which for the server is Triton."""
    try:
        own = process.memory_info().rss / MIB
        below = 0.0
        for child in process.children(recursive=True):
            try:
                below += child.memory_info().rss / MIB
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    return own, below


def watch(client: subprocess.Popen[bytes], server: psutil.Process, memory: Memory, started: float) -> Iterator[None]:
    """Sample memory until the client ends."""
    process = psutil.Process(client.pid)
    while client.poll() is None:
        own, triton = resident_mib(server)
        memory.seconds.append(round(time.monotonic() - started, 1))
        memory.client.append(round(resident_mib(process)[0], 1))
        memory.server.append(round(own, 1))
        memory.triton.append(round(triton, 1))
        yield
        try:
            client.wait(SAMPLE_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def run(count: int, at_once: int) -> Report:
    """Make the studies, start the server, run the batch."""
    with tempfile.TemporaryDirectory(prefix="discgrade-batch-") as scratch:
        root, out = Path(scratch, "studies"), Path(scratch, "table.csv")
        print(f"making {count} studies", flush=True)
        bad = make_studies(root, count)
        with serving(Path(scratch)) as running, running.client():
            url = running.url()
            server = psutil.Process(running.pid)
            command = [sys.executable, "-m", "discgrade", "batch", str(root), "--out", str(out)]
            command += ["--url", url, "--at-once", str(at_once)]
            memory, started = Memory(), time.monotonic()
            marks = [round(share * count) for share in KILLS]
            while True:
                with subprocess.Popen(command, stderr=subprocess.DEVNULL) as batch:
                    for _ in watch(batch, server, memory, started):
                        if marks and graded_so_far(url) >= marks[0]:
                            print(f"killed after {marks.pop(0)} studies", flush=True)
                            batch.send_signal(signal.SIGKILL)
                            break
                if batch.returncode != -signal.SIGKILL:
                    break
            seconds = time.monotonic() - started
            assert batch.returncode == (2 if bad else 0), batch.returncode
            by_server = graded_so_far(url)
        with out.open(newline="") as table:
            graded = len({row["study"] for row in csv.DictReader(table) if row["state"] == "graded"})
    assert not marks, "the batch was over before it was killed"
    assert graded == by_server == count - bad, (graded, by_server, count - bad)
    return Report(
        discgrade=discgrade.__version__,
        machine=f"{platform.machine()}, {psutil.cpu_count()} cores",
        studies=count,
        bad_studies=bad,
        kills=len(KILLS),
        graded=graded,
        graded_by_server=by_server,
        seconds=round(seconds, 1),
        studies_per_minute=round(count / seconds * 60, 1),
        memory=memory,
    )


def described(report: Report) -> str:
    """The report as Markdown."""
    memory = report.memory
    step = max(len(memory.seconds) // CURVE_POINTS, 1)
    rows = zip(memory.seconds, memory.client, memory.server, memory.triton, strict=True)
    curve = [f"| {t:.0f} | {c:.0f} | {s:.0f} | {x:.0f} |" for t, c, s, x in list(rows)[::step]]
    tenth = max(len(memory.server) // 10, 1)
    first, last = (statistics.median(part) for part in (memory.server[tenth : 2 * tenth], memory.server[-tenth:]))
    return "\n".join(
        [
            "# `discgrade batch`, killed twice",
            "",
            f"{report.studies} phantom studies ({report.bad_studies} of them broken), discgrade {report.discgrade},",
            f"{report.machine}. Made by `make batch-1000`.",
            "",
            "| | |",
            "| --- | --- |",
            f"| graded, in the table | {report.graded} |",
            f"| graded, as the server counts | {report.graded_by_server} |",
            f"| kills (SIGKILL) of the client | {report.kills} |",
            f"| seconds, starts included | {report.seconds:.0f} |",
            f"| studies per minute | {report.studies_per_minute:.0f} |",
            f"| client, most MiB | {max(memory.client):.0f} |",
            f"| server, MiB in the second and the last tenth | {first:.0f}, {last:.0f} |",
            "",
            "Resident memory, MiB (server without its tritonserver):",
            "",
            "| s | client | server | tritonserver |",
            "| ---: | ---: | ---: | ---: |",
            *curve,
            "",
        ]
    )


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures go")
    arguments = parser.parse_args()
    report = run(arguments.studies, arguments.at_once)
    arguments.results.mkdir(parents=True, exist_ok=True)
    text = described(report)
    (arguments.results / "batch.md").write_text(text)
    (arguments.results / "batch.json").write_text(json.dumps(asdict(report), indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
