"""A canary's share of the studies, and what becomes of them where it fails."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from discgrade.errors import (
    DiscgradeError,
    InferenceFailed,
    InferenceTimeout,
    InferenceUnavailable,
    NoDiscsFound,
)
from discgrade.result import ModelUsed
from export import models as exported
from export.configs import texts
from export.service import Canary as Written
from export.service import Service
from gateway import embedded, triton_client
from gateway.canary import Canary, Releases
from gateway.telemetry.releases import ReleaseMetrics
from gateway.triton_client import TritonClient
from tests.gateway.conftest import OpenClient, Parts
from tests.gateway.test_operations import samples
from tests.support.truth import TruthGrader

STUDIES = 2000


def _holding(pixels: NDArray[np.uint8]) -> Any:
    return SimpleNamespace(pixels=pixels)


GRIDS = [_holding(np.random.default_rng(number).integers(0, 256, (2, 32, 32), np.uint8)) for number in range(STUDIES)]


class _Triton:
    """Answers with release 1, and with 2 as its canary."""

    def __init__(self, beside: Canary | None) -> None:
        self.beside = beside
        self.failure: DiscgradeError | None = None
        self.stable_failure: DiscgradeError | None = None
        self.lost: DiscgradeError | None = None
        self.looked = 0

    async def ready(self) -> bool:
        return True

    async def models(self, release: str | None = None) -> list[ModelUsed]:
        raise NotImplementedError

    async def canary(self) -> Canary | None:
        self.looked += 1
        if self.lost is not None:
            raise self.lost
        return self.beside

    async def grade(self, grid: Any) -> Any:
        if self.stable_failure is not None:
            raise self.stable_failure
        return SimpleNamespace(release="1")

    async def grade_by_canary(self, grid: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return SimpleNamespace(release="2")


class _House:
    """A gateway's choice, and what it counted."""

    def __init__(self, beside: Canary | None) -> None:
        self.registry = CollectorRegistry()
        self.triton = _Triton(beside)
        self.releases = Releases(self.triton, ReleaseMetrics(self.registry))

    async def graded_by(self, *grids: Any) -> list[str]:
        return [(await self.releases.grade(grid)).release for grid in grids]

    def counted(self) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels[label] for label in ("track", "release", "outcome")): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "discgrade_release_requests_total"
        }

    def share(self) -> dict[str, float]:
        return {
            sample.labels["release"]: sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "discgrade_canary_share"
        }


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_it_takes_its_share(share: float) -> None:
    taken = sum(Canary("2", share).takes(grid) for grid in GRIDS)
    assert abs(taken - share * STUDIES) < 5 * math.sqrt(STUDIES * share * (1 - share))  # the images are always the same


def test_the_image_alone_decides() -> None:
    first = [Canary("2", 0.3).takes(grid) for grid in GRIDS]
    again = [Canary("2", 0.3).takes(_holding(grid.pixels.copy())) for grid in GRIDS]
    turned = [Canary("2", 0.3).takes(_holding(np.asfortranarray(grid.pixels))) for grid in GRIDS]
    assert first == again == turned


def test_a_larger_share_holds_a_smaller_one() -> None:
    small = [Canary("2", 0.1).takes(grid) for grid in GRIDS]
    large = [Canary("2", 0.4).takes(grid) for grid in GRIDS]
    assert all(later for before, later in zip(small, large, strict=True) if before)


def test_another_release_gets_other_studies() -> None:
    both = sum(Canary("2", 0.3).takes(grid) and Canary("3", 0.3).takes(grid) for grid in GRIDS)
    assert abs(both - 0.09 * STUDIES) < 5 * math.sqrt(STUDIES * 0.09 * 0.91)


async def test_studies_go_where_they_belong() -> None:
    canary = Canary("2", 0.3)
    house = _House(canary)
    grids = GRIDS[:200]
    expected = ["2" if canary.takes(grid) else "1" for grid in grids]
    assert await house.graded_by(*grids) == expected
    assert house.counted() == {
        ("stable", "1", "ok"): expected.count("1"),
        ("canary", "2", "ok"): expected.count("2"),
    }
    assert house.share() == {"2": 0.3}
    assert house.triton.looked == 1  # not before each study


FAILURES = [InferenceFailed("x"), InferenceTimeout("x"), InferenceUnavailable("x"), NoDiscsFound("x")]


@pytest.mark.parametrize("failure", FAILURES, ids=[error.slug for error in FAILURES])
async def test_a_canary_that_fails_costs_no_request(failure: DiscgradeError) -> None:
    house = _House(Canary("2", 1.0))
    house.triton.failure = failure
    assert await house.graded_by(GRIDS[0], GRIDS[1]) == ["1", "1"]
    assert house.counted() == {("canary", "2", failure.slug): 2, ("stable", "1", "ok"): 2}


async def test_who_sees_no_discs_hears_it_from_the_release_in_service() -> None:
    house = _House(Canary("2", 1.0))
    house.triton.failure = house.triton.stable_failure = NoDiscsFound("None.")
    with pytest.raises(NoDiscsFound):
        await house.releases.grade(GRIDS[0])
    assert house.counted() == {("canary", "2", NoDiscsFound.slug): 1, ("stable", "unknown", NoDiscsFound.slug): 1}


async def test_a_canary_that_ended_did_not_fail() -> None:
    house = _House(Canary("2", 1.0))
    assert await house.graded_by(GRIDS[0]) == ["2"]
    house.triton.beside, house.triton.failure = None, InferenceUnavailable("Not there.")
    assert await house.graded_by(GRIDS[0]) == ["1"]
    assert house.counted() == {("canary", "2", "ok"): 1, ("stable", "1", "ok"): 1}
    assert house.share() == {}


async def test_who_leaves_is_not_graded_by_another_release() -> None:
    house = _House(Canary("2", 1.0))
    house.triton.failure = asyncio.CancelledError()  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await house.releases.grade(GRIDS[0])
    assert house.counted() == {}


async def test_changes_are_noticed_and_a_lost_server_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("gateway.canary.time.monotonic", lambda: now)
    house = _House(None)
    assert await house.releases.canary() is None
    house.triton.beside = Canary("2", 0.5)
    now += 1.9
    assert await house.releases.canary() is None
    now += 0.1
    assert await house.releases.canary() == Canary("2", 0.5)
    house.triton.lost = InferenceUnavailable("Away.")
    now += 10
    assert await house.releases.canary() == Canary("2", 0.5)
    house.triton.lost, house.triton.beside = None, Canary("2", 0.6)
    now += 10
    assert await house.releases.canary() == Canary("2", 0.6)
    assert house.share() == {"2": 0.6}


class _Server:
    """Has the config that the repository holds, or says why not."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def get_model_config(self, name: str, **_: Any) -> Any:
        assert name == exported.CANARY
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(config=self.answer)


async def test_the_share_is_read_from_what_the_repository_holds() -> None:
    members = {"disc_segmentation": 2, "disc_crop": 1, "disc_grading": 2}
    service = Service(1, dict.fromkeys(members, 1), dict.fromkeys(members, (1, 2)), None, Written(2, members, 0.05))
    text = texts(service)[f"{exported.CANARY}/config.pbtxt"]
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert await _asked(_Server(config)) == Canary("2", 0.05)
    assert await _asked(_Server(InferenceServerException("unknown model", "StatusCode.NOT_FOUND"))) is None
    with pytest.raises(InferenceUnavailable):
        await _asked(_Server(InferenceServerException("away", "StatusCode.UNAVAILABLE")))


async def _asked(server: _Server) -> Canary | None:
    async with TritonClient("127.0.0.1:9") as client:
        connected, client._about = client._about, server
        try:
            return await client.canary()
        finally:
            client._about = connected


def test_every_room_means_the_same_model() -> None:
    assert exported.CANARY == triton_client.CANARY == embedded._CANARY


async def test_it_is_shown(open_client: OpenClient, grader: TruthGrader, study: Parts) -> None:
    grader.beside = Canary("2", 1.0)
    async with open_client() as client:
        assert (await client.get("/v1/models")).json()["canary"] == {"release": "2", "share": 1.0}
        answer = await client.post("/v1/grade", files=study)
        assert (answer.status_code, answer.json()["models"][0]["version"]) == (201, "1")
        after = await samples(client)
    assert after["discgrade_canary_share", "2"] == 1.0
    assert after["discgrade_release_requests_total", "inference-failed/2/canary"] == 1
    assert after["discgrade_release_requests_total", "ok/1/stable"] == 1
