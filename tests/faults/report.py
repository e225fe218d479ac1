"""What a run found."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Iterator

__all__ = ["Report"]


@dataclasses.dataclass
class Report:
    """What a run found.

    Attributes:
        accepted: Jobs that were answered with 202.
        graded: Jobs that succeeded, each with a result of its own study.
        results: Results in the storage.
        messages: Webhooks, by id.
        repeated: Webhooks that came more than once, under the same id.
        refusals: Requests that had to be sent again.
        recoveries: Seconds until a killed process was healthy again, by its name.
        waits: Seconds from a job's acceptance to its end.
        failures: What went wrong, in words; empty is good.
    """

    accepted: int = 0
    graded: int = 0
    results: int = 0
    messages: int = 0
    repeated: int = 0
    refusals: int = 0
    recoveries: dict[str, list[float]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    waits: list[float] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The figures, for people."""
        kills = sum(map(len, self.recoveries.values()))
        yield f"jobs accepted {self.accepted}, graded {self.graded}; results kept {self.results}"
        yield f"webhooks {self.messages}, of these sent more than once under the same id {self.repeated}"
        yield f"requests sent again {self.refusals}, processes killed {kills}"
        for name, seconds in sorted(self.recoveries.items()):
            yield f"  {name}: {len(seconds)} kills, healthy again after {_figures(seconds)}"
        yield f"  all: healthy again after {_figures([s for each in self.recoveries.values() for s in each])}"
        yield f"job from acceptance to end: {_figures(self.waits)}"
        yield from (f"FAILED: {failure}" for failure in self.failures)


def _figures(seconds: list[float]) -> str:
    if not seconds:
        return "–"
    return f"p50 {statistics.median(seconds):.1f} s, max {max(seconds):.1f} s"
