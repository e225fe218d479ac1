"""Measures contenders: in turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import psutil

from benchmarks.race.contenders import Contender
from benchmarks.race.studies import Study

__all__ = ["Memory", "latency", "memory", "throughput", "warm_up"]

Memory = dict[str, list[float]]
"""``studies`` graded so far, and resident MiB of ``server`` (the gateway) and ``triton`` (all below it) then."""

_MIB = 1024 * 1024


def warm_up(contenders: Sequence[Contender], study: Study, rounds: int) -> list[str]:
    """Wait for each, and let it grade a study a few times.

    Returns:
        The levels that all found.

    Raises:
        AssertionError: They do not agree: then they are not comparable.
    """
    found = {}
    for contender in contenders:
        contender.ready()
        for _ in range(rounds):
            levels = contender.grade(study)
        if levels is not None:
            found[contender.key] = levels
    answers = list(found.values())
    assert all(answer == answers[0] for answer in answers), found
    return answers[0]


def latency(contenders: Sequence[Contender], study: Study, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of one study at a time, by contender; each round has every contender once."""
    spent: dict[str, list[float]] = {contender.key: [] for contender in contenders}
    for number in range(rounds):
        turn = number % len(contenders)  # who comes after whom changes
        for contender in (*contenders[turn:], *contenders[:turn]):
            started = time.perf_counter()
            contender.grade(study)
            spent[contender.key].append((time.perf_counter() - started) * 1000)
    return spent


def throughput(contenders: Sequence[Contender], study: Study, clients: int, seconds: float) -> dict[str, float]:
    """Studies a second with several clients, each of which sends the next study when it has its answer.

    Args:
        contenders: One after the other.
        study: What all clients send.
        clients: How many.
        seconds: In which studies are begun; all that were are waited for, and counted.
    """
    rates = {}
    with ThreadPoolExecutor(clients) as pool:
        for contender in contenders:
            list(pool.map(contender.grade, itertools.repeat(study, clients)))
            started = time.perf_counter()
            graded = sum(pool.map(_until, *([value] * clients for value in (contender, study, started + seconds))))
            rates[contender.key] = graded / (time.perf_counter() - started)
    return rates


def _until(contender: Contender, study: Study, end: float) -> int:
    """Grade again and again; how often."""
    graded = 0
    while time.perf_counter() < end:
        contender.grade(study)
        graded += 1
    return graded


def memory(contender: Contender, server: int, study: Study, studies: int, clients: int) -> Memory:
    """Grade many studies, and look at the server's memory on the way.

    Args:
        contender: discgrade.
        server: Number of its process.
        study: A small one.
        studies: How many.
        clients: At a time.
    """
    seen: Memory = {"studies": [], "server": [], "triton": []}
    process = psutil.Process(server)
    with ThreadPoolExecutor(clients) as pool:
        for done in _stretches(studies):
            list(pool.map(contender.grade, itertools.repeat(study, done - int(max(seen["studies"], default=0)))))
            below = sum(child.memory_info().rss for child in process.children(recursive=True))
            seen["studies"].append(done)
            seen["server"].append(round(process.memory_info().rss / _MIB, 1))
            seen["triton"].append(round(below / _MIB, 1))
    return seen


def _stretches(studies: int) -> Iterator[int]:
    """When to look: after every twentieth of the studies."""
    marks = sorted({max(1, round(studies * part / 20)) for part in range(1, 21)})
    yield from marks
