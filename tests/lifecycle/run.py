"""Releases are added, tried on a share of the studies, promoted, rolled back and broken while clients send studies."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from export.lifecycle import Lifecycle
from export.models import NETWORKS
from export.repository import Repository
from tests.faults.house import House
from tests.lifecycle.clients import Answer, Clients
from tests.lifecycle.report import Phase, Report
from tests.support.repository import first_release, served_again

__all__ = ["run"]

SHARE = 0.3
BROKEN_SHARE = 0.5
_SIGMAS = 5.0
_KNOWN_SECONDS = 300.0
_BROKEN = '''"""Computes once, for the warm-up, and never again."""

from engines.triton_model import TritonPythonModel as Working


class TritonPythonModel(Working):
    used = False

    def execute(self, requests):
        if self.used:
            raise RuntimeError("broken")
        self.used = True
        return super().execute(requests)
'''


def run(studies: int, clients: int) -> Report:
    """Go through a release's life under load.

    Args:
        studies: Graded in each phase, at least.
        clients: Of each way: REST, gRPC and jobs.
    """
    with tempfile.TemporaryDirectory(prefix="discgrade-lifecycle-") as name:
        folder = Path(name)
        repository = first_release(folder / "models")
        with House(folder / "data", _SETTINGS, workers=1, models=repository.root) as house:
            sending = Clients(house, folder, clients)
            run = _Run(house, repository, sending, studies)
            sending.phase = "warming up"
            with sending.busy():
                run.go()
            run.check_counts()
            return run.report


_SETTINGS = {"DISCGRADE_RATE_LIMIT": "100000/minute"}


class _Run:
    def __init__(self, house: House, repository: Repository, clients: Clients, studies: int) -> None:
        self.house = house
        self.repository = repository
        self.lifecycle = Lifecycle(repository, [house.triton_url])
        self.clients = clients
        self.studies = studies
        self.report = Report(clients.answers, clients.failures)

    def go(self) -> None:
        """Every phase; what changes between them, and what must be seen in them."""
        self.phase("release 1", lambda: None, {"1": 1.0})
        self.phase("release 2 is added", lambda: served_again(self.repository), {"1": 1.0})
        self.phase("canary 2 at 30 %", lambda: self.canary(2, SHARE), {"1": 1 - SHARE, "2": SHARE})
        self.phase(
            "tritonserver killed meanwhile", lambda: self.house.kill("tritonserver"), {"1": 1 - SHARE, "2": SHARE}
        )
        self.phase("2 promoted", lambda: self.lifecycle.promote(2), {"2": 1.0})
        self.phase("rolled back", lambda: self.lifecycle.rollback(), {"1": 1.0})
        self.phase("broken 3 as canary at 50 %", self.broken, {"1": 1.0})
        self.phase("canary ended", lambda: self.end(), {"1": 1.0})

    def canary(self, release: int, share: float) -> None:
        self.lifecycle.canary(release, share)
        self.known({"release": str(release), "share": share})

    def broken(self) -> None:
        served_again(self.repository, _BROKEN)
        self.canary(3, BROKEN_SHARE)
        deadline = time.monotonic() + _KNOWN_SECONDS
        while not self.asked()["canary", "3", "inference-failed"]:
            assert time.monotonic() < deadline, "the broken canary is not asked"
            time.sleep(0.05)

    def end(self) -> None:
        self.lifecycle.rollback()
        self.known(None)

    def known(self, canary: dict[str, object] | None) -> None:
        """Wait until every gateway and worker knows the canary."""
        deadline = time.monotonic() + _KNOWN_SECONDS
        for url in self.house.pages:
            while httpx.get(f"{url}/v1/models", timeout=60).json()["canary"] != canary:
                assert time.monotonic() < deadline, f"{url} does not know the canary {canary}"
                time.sleep(0.05)

    def phase(self, name: str, change: Callable[[], object], shares: dict[str, float]) -> None:
        """Change something under load, then let studies be graded and look at who graded them.

        Args:
            name: Of the phase.
            change: What happens first; studies that are sent meanwhile belong to no phase.
            shares: Of the studies by the releases that may grade them.
        """
        self.clients.phase = f"before {name}"
        before, started = self.outcomes(), time.monotonic()
        change()
        seconds = time.monotonic() - started
        self.clients.phase = name
        self.clients.more(self.studies, set(shares))
        answers = self.clients.within(name)
        refused = self.outcomes() - before
        self.report.phases.append(Phase(name, seconds, shares, answers, refused))
        seen = Counter(answer.release for answer in answers)
        for release, share in shares.items():
            margin = _SIGMAS * math.sqrt(len(answers) * share * (1 - share))
            if abs(seen.pop(release, 0) - share * len(answers)) > margin:
                self.report.failures.append(f"{name}: release {release} did not grade {share:.0%}")
        if seen:
            self.report.failures.append(f"{name}: answered by {dict(seen)}")
        if refused and "killed" not in name:
            self.report.failures.append(f"{name}: {dict(refused)}")

    def outcomes(self) -> Counter[str]:
        """Gradings that did not end well so far, by outcome: of senders that waited, and of attempts at jobs."""
        found: Counter[str] = Counter()
        for labels, value in self.samples("discgrade_grade_outcomes_total", "discgrade_job_retries_total"):
            found[labels["outcome"]] += int(value)
        del found["ok"]
        return +found

    def samples(self, *names: str) -> list[tuple[dict[str, str], float]]:
        return [
            (sample.labels, sample.value)
            for url in self.house.pages
            for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=60).text)
            for sample in family.samples
            if sample.name in names
        ]

    def asked(self) -> Counter[tuple[str, str, str]]:
        """What releases were asked so far, by track, release and outcome."""
        asked = Counter[tuple[str, str, str]]()
        for labels, value in self.samples("discgrade_release_requests_total"):
            asked[labels["track"], labels["release"], labels["outcome"]] += int(value)
        return asked

    def check_counts(self) -> None:
        """What clients saw is what the metrics say, and the same study always met the same release."""
        asked = self.asked()
        self.report.asked = dict(sorted(asked.items()))
        graded = Counter(answer.release for answer in self.clients.answers)
        counted = Counter[str]()
        for (_, release, outcome), count in asked.items():
            if outcome == "ok":
                counted[release] += count
        if graded != counted:
            self.report.failures.append(f"clients got {dict(graded)}, gateway and worker counted {dict(counted)}")
        if asked["canary", "3", "ok"]:
            self.report.failures.append("the broken canary answered")
        self.report.failures += [*self.clients.failures, *_contradictions(self.clients.answers)]


def _contradictions(answers: list[Answer]) -> list[str]:
    found = []
    releases: dict[tuple[int, str], set[str]] = {}
    for answer in answers:
        if not answer.discs:
            found.append(f"study {answer.study}: no discs")
        versions = dict(answer.members)
        if versions != {"lumbar_grading": answer.release, "disc_crop": "1", **dict.fromkeys(NETWORKS, answer.release)}:
            found.append(f"study {answer.study}: release {answer.release} with {versions}")
        if answer.sent == answer.answered:
            releases.setdefault((answer.study, answer.sent), set()).add(answer.release)
    found += [f"study {study} met {met}" for (study, _), met in releases.items() if len(met) > 1]
    return found
