"""What a run found."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.lifecycle.clients import WAYS, Answer

__all__ = ["Phase", "Report"]


@dataclasses.dataclass
class Phase:
    """One phase.

    Attributes:
        name: What was done.
        change_seconds: How long that took.
        shares: Expected of each release.
        answers: Studies that were sent and answered in it.
        refused: Gradings that did not end well while it was brought about and lasted, by outcome.
    """

    name: str
    change_seconds: float
    shares: Mapping[str, float]
    answers: list[Answer]
    refused: Counter[str]

    def row(self) -> dict[str, Any]:
        """Its figures."""
        seconds = sorted(answer.seconds for answer in self.answers if answer.way != "job")
        return {
            "phase": self.name,
            "change_seconds": round(self.change_seconds, 1),
            "studies": len(self.answers),
            **{way: sum(answer.way == way for answer in self.answers) for way in WAYS},
            "by_release": dict(sorted(Counter(answer.release for answer in self.answers).items())),
            "expected": dict(self.shares),
            "p50_ms": round(1000 * statistics.median(seconds)),
            "max_ms": round(1000 * seconds[-1]),
            "refused": dict(self.refused),
        }


@dataclasses.dataclass
class Report:
    """What a run found.

    Attributes:
        answers: Every answer that clients got.
        unanswered: Studies that were not graded, and why.
        phases: In their order.
        asked: What releases were asked, as gateway and worker counted it: by track, release and outcome.
        failures: What went wrong, in words; empty is good.
    """

    answers: list[Answer]
    unanswered: list[str]
    phases: list[Phase] = dataclasses.field(default_factory=list)
    asked: dict[tuple[str, str, str], int] = dataclasses.field(default_factory=dict)
    failures: list[str] = dataclasses.field(default_factory=list)

    def json(self) -> str:
        """All figures."""
        return json.dumps(
            {
                "answered": len(self.answers),
                "unanswered": self.unanswered,
                "phases": [phase.row() for phase in self.phases],
                "asked": [
                    {"track": track, "release": release, "outcome": outcome, "studies": studies}
                    for (track, release, outcome), studies in self.asked.items()
                ],
                "failures": self.failures,
            },
            indent=2,
        )

    def lines(self) -> Iterator[str]:
        """The figures, for people."""
        yield f"Studies graded: {len(self.answers)}; not graded: {len(self.unanswered)}."
        yield ""
        yield "| phase | change | studies | REST, gRPC, jobs | by release | expected | p50, max | sent again |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        for row in (phase.row() for phase in self.phases):
            ways = ", ".join(str(row[way]) for way in WAYS)
            graded = ", ".join(f"{release}: {count}" for release, count in row["by_release"].items())
            expected = ", ".join(
                f"{release}: {share * row['studies']:.0f}" for release, share in row["expected"].items()
            )
            again = ", ".join(f"{count} {outcome}" for outcome, count in row["refused"].items()) or "none"
            yield (
                f"| {row['phase']} | {row['change_seconds']} s | {row['studies']} | {ways} | {graded} | {expected} "
                f"| {row['p50_ms']}, {row['max_ms']} ms | {again} |"
            )
        yield ""
        yield "| track | release | outcome | studies, as gateway and worker counted them |"
        yield "| --- | --- | --- | --- |"
        for (track, release, outcome), studies in self.asked.items():
            yield f"| {track} | {release} | {outcome} | {studies} |"
        yield ""
        yield from (f"FAILED: {failure}" for failure in self.failures)
