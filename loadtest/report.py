"""The report of a scenario: a page, a picture and a table."""

from __future__ import annotations

import csv
import dataclasses
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

import discgrade
from loadtest import pictures
from loadtest.phases import Phase
from loadtest.records import Row, quantile, rows
from loadtest.scenarios import Outcome, Scenario
from loadtest.server import Memory, Target

__all__ = ["write_report"]


def write_report(name: str, scenario: Scenario, outcome: Outcome, target: Target, memory: Memory, folder: Path) -> Path:
    """Write ``report.md``, ``latency.png`` and ``summary.csv``; returns the page.

    Args:
        name: Of the scenario.
        scenario: What was done.
        outcome: What it showed.
        target: The server, which still runs.
        memory: Of our own server.
        folder: Made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures.draw(outcome.phases, memory, folder / "latency.png")
    with (folder / "summary.csv").open("w", newline="") as sink:
        table = csv.writer(sink)
        table.writerow(["phase", *(field.name for field in dataclasses.fields(Row))])
        for phase in outcome.phases:
            table.writerows([phase.name, *dataclasses.astuple(row)] for row in rows(phase.records, phase.seconds))
    page = folder / "report.md"
    page.write_text("\n".join(_page(name, scenario, outcome, target)) + "\n")
    return page


def _page(name: str, scenario: Scenario, outcome: Outcome, target: Target) -> Iterator[str]:
    yield f"# {scenario.title}"
    yield ""
    yield f"Made by `make {name}`. {_conditions(target)}"
    yield ""
    yield f"Studies: the mix `{scenario.mix}` (docs/load.md). {' '.join(outcome.notes)}"
    yield ""
    yield "| promise | measured | |"
    yield "| --- | --- | --- |"
    for check in outcome.checks:
        yield f"| {check.promise} | {check.found} | {'kept' if check.kept else '**broken**'} |"
    yield ""
    yield "![Latency, rate and memory over time](latency.png)"
    yield ""
    yield "## Phases"
    yield ""
    yield "Studies a second. p50 and p99 are of studies that were graded while their sender waited (REST and gRPC),"
    yield "in s; p99 with its 95 % interval by order statistics. Late: the most by which the load generator was behind"
    yield "its plan, which latencies include."
    yield ""
    yield "| phase | load | s | sent | done | told to come back | p50 | p99 | generator, cores | late, s |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for phase in outcome.phases:
        yield _phase(phase)
    for phase in outcome.phases:
        yield from _table(phase)


def _phase(phase: Phase) -> str:
    waited = phase.waited("ok")
    p50, p99 = "–", "–"
    if waited:
        found = quantile(waited, 0.99)
        high = "" if found.high == float("inf") else f"{found.high:.2f}"
        p50 = f"{quantile(waited, 0.5).value:.2f}"
        p99 = f"{found.value:.2f} ({found.low:.2f} to {high or 'unknown'})"
    back = sum(record.outcome in {"limited", "overloaded"} for record in phase.records)
    return (
        f"| {phase.name} | {phase.title} | {phase.seconds:.0f} | {phase.sent_per_second:.2f} "
        f"| {phase.done_per_second:.2f} | {back / phase.seconds:.2f} | {p50} | {p99} "
        f"| {phase.generator_cores:.2f} | {phase.latest:.2f} |"
    )


def _table(phase: Phase) -> Iterator[str]:
    yield ""
    yield f"## {phase.name}: {phase.title}"
    yield ""
    yield "Milliseconds from the study's arrival, or the request's begin, to the last byte of the answer."
    yield ""
    yield "| route | outcome | requests | a second | p50 | p90 | p95 | p99 | longest |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows(phase.records, phase.seconds):
        times = " | ".join(f"{value:.0f}" for value in (row.p50, row.p90, row.p95, row.p99, row.longest))
        yield f"| `{row.route}` | {row.outcome} | {row.count} | {row.per_second:.2f} | {times} |"


def _conditions(target: Target) -> str:
    with target.client() as client:
        engines = sorted({model.engine for model in client.models() if model.engine not in {"ensemble", "python"}})
    server = (
        f"a server of its own on the same machine, which the load generator shares: {_machine()}"
        if target.pid is not None
        else "a server elsewhere"
    )
    return (
        f"discgrade {discgrade.__version__}, {', '.join(engines)}, Locust {metadata.version('locust')}, "
        f"Python {platform.python_version()}; {server}."
    )


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{psutil.cpu_count()} cores of {names[0] if names else platform.machine()}, no GPU used"
