"""Which release grades a study: the one in service, or a canary for its share of the studies (decision 51)."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
from isal.isal_zlib import crc32

from discgrade.errors import DiscgradeError, ServiceError
from discgrade.result import ModelUsed
from gateway.outcomes import outcome_of
from gateway.telemetry.releases import CANARY, STABLE, ReleaseMetrics
from gateway.triton_tensors import GradedTensors
from preprocess.grid import Grid

__all__ = ["Canary", "Releases", "Tracks"]

_KNOWN_SECONDS = 2.0
"""How long after a canary began, changed or ended a gateway may still not know it."""
_NOT_YET_KNOWN = "unknown"
_log = structlog.get_logger("canary")


@dataclass(frozen=True)
class Canary:
    """A release that grades a share of the studies.

    Attributes:
        release: Version of the ensemble.
        share: Of the studies, 0 to 1.
    """

    release: str
    share: float

    def takes(self, grid: Grid) -> bool:
        """Whether it grades this image.

        The image alone decides: a study that is sent again, or a job that is tried again, meets the same release at
        every gateway. A larger share holds the studies of a smaller one; another release gets others.
        """
        image = crc32(np.ascontiguousarray(grid.pixels).data)
        drawn = hashlib.blake2b(f"{self.release} {image}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn, "big") < self.share * 2**64


class Tracks(Protocol):
    """What is asked for of a Triton client; :class:`gateway.triton_client.TritonClient` is one."""

    async def ready(self) -> bool:
        """Whether the ensemble would answer now."""

    async def grade(self, grid: Grid) -> GradedTensors:
        """Run the ensemble."""

    async def grade_by_canary(self, grid: Grid) -> GradedTensors:
        """Run the canary's."""

    async def canary(self) -> Canary | None:
        """The canary that the server has."""

    async def models(self, release: str | None = None) -> list[ModelUsed]:
        """The ensemble and its members, of the release that answered, or by default of the one in service."""


class Releases:
    """Grades each study with the release that is to grade it; a :class:`gateway.dataplane.Grader`.

    Args:
        triton: Talks to tritonserver.
        metrics: Where the calls are counted.
    """

    def __init__(self, triton: Tracks, metrics: ReleaseMetrics) -> None:
        self._triton = triton
        self._metrics = metrics
        self._stable = _NOT_YET_KNOWN
        self._canary: Canary | None = None
        self._asked_at = -_KNOWN_SECONDS

    async def ready(self) -> bool:
        """Whether the release in service would answer now; a canary that would not keeps nobody waiting."""
        return await self._triton.ready()

    async def models(self, release: str | None = None) -> list[ModelUsed]:
        """As :meth:`gateway.triton_client.TritonClient.models`."""
        return await self._triton.models(release)

    async def canary(self) -> Canary | None:
        """The canary, as it was known at most two seconds ago; where tritonserver does not answer, as it was then."""
        if time.monotonic() - self._asked_at >= _KNOWN_SECONDS:
            await self._look()
        return self._canary

    async def grade(self, grid: Grid) -> GradedTensors:
        """Grade a study with its release.

        A canary costs no request: where it fails, or sees no discs, the release in service grades the study.

        Raises:
            DiscgradeError: As :meth:`gateway.triton_client.TritonClient.grade`, of the release in service.
        """
        canary = await self.canary()
        if canary is not None and canary.takes(grid):
            try:
                return await self._counted(CANARY, canary.release, self._triton.grade_by_canary(grid))
            except DiscgradeError as error:
                _log.warning("the release in service grades instead", canary=canary.release, outcome=error.slug)
        graded = await self._counted(STABLE, self._stable, self._triton.grade(grid))
        self._stable = graded.release
        return graded

    async def _counted(self, track: str, release: str, answer: Awaitable[GradedTensors]) -> GradedTensors:
        try:
            graded = await answer
        except DiscgradeError as error:
            if track == STABLE or not isinstance(error, ServiceError) or await self._still(release):
                self._metrics.requests.labels(track, release, outcome_of(error)).inc()
            raise
        self._metrics.requests.labels(track, graded.release, "ok").inc()
        return graded

    async def _still(self, release: str) -> bool:
        """Whether the canary is there: one that ended just before it was asked did not fail."""
        await self._look()
        return self._canary is not None and self._canary.release == release

    async def _look(self) -> None:
        self._asked_at = time.monotonic()
        try:
            canary = await self._triton.canary()
        except ServiceError:
            return
        if canary != self._canary:
            _log.info("canary", **(dataclasses.asdict(canary) if canary else {"release": None}))
        self._canary = canary
        self._metrics.show_canary({} if canary is None else {canary.release: canary.share})
