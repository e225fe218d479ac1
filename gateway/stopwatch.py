"""Times the stages of a study: for its result, for metrics, and as spans of its trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway import tracing
from gateway.outcomes import outcome_class

__all__ = ["Stopwatch"]


class Stopwatch:
    """Milliseconds per stage; the stages follow each other without a gap that would count.

    Args:
        upload_ms: Milliseconds already spent receiving the files.
        progress: Told the name of each stage as it begins.
        observe: Told a stage's name, the class of its outcome and its seconds as it ends.
    """

    def __init__(
        self,
        upload_ms: float = 0.0,
        progress: Callable[[str], None] | None = None,
        observe: Callable[[str, str, float], None] | None = None,
    ) -> None:
        self._timings_ms = {"upload": upload_ms}
        self._progress = progress
        self._observe = observe

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as a stage."""
        if self._progress is not None:
            self._progress(name)
        started = time.perf_counter()
        failure: BaseException | None = None
        try:
            with tracing.span(name):
                yield
        except BaseException as error:
            failure = error
            raise
        finally:
            seconds = time.perf_counter() - started
            self._timings_ms[name] = seconds * 1000
            if self._observe is not None:
                self._observe(name, outcome_class(failure), seconds)

    def timings_ms(self) -> dict[str, float]:
        """Each stage that ended, and their total; milliseconds, to a tenth."""
        timings = {**self._timings_ms, "total": sum(self._timings_ms.values())}
        return {name: round(value, 1) for name, value in timings.items()}
