"""A result names the networks that answered, also where their release left service meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from discgrade.errors import InferenceUnavailable
from gateway.triton_client import TritonClient
from gateway.triton_tensors import OUTPUTS

GRID = SimpleNamespace(pixels=np.zeros((1, 32, 32), np.uint8), field_of_view=(0, 32, 0, 32), slice_spacing_mm=0.0)
SHAPES = {
    **dict.fromkeys(("LABELS", "DISC_PROBABILITY", "INSTANCES"), (1, 32, 32)),
    **dict.fromkeys(("LEVELS", "LEVEL_CONFIDENCE", "MIDDLE_SLICES", "WARNINGS"), (1,)),
    **{"BOXES": (1, 6), "SEVERITY_PROBABILITIES": (1, 3), "PFIRRMANN_PROBABILITIES": (1, 5)},
}


class _Server:
    """Answers with one release after the other, and can be asked about those that it still has."""

    def __init__(self, answers: list[str], known: set[str]) -> None:
        self.answers = answers
        self.known = known
        self.graded = 0

    async def infer(self, name: str, inputs: Any, **_: Any) -> Any:
        release = self.answers[min(self.graded, len(self.answers) - 1)]
        self.graded += 1
        texts = {"LEVELS", "WARNINGS"}
        arrays = {name: np.full(SHAPES[name], b"" if name in texts else 0) for name in OUTPUTS}
        return SimpleNamespace(
            get_response=lambda: SimpleNamespace(model_version=release), as_numpy=lambda name: arrays[name]
        )

    async def get_model_config(self, name: str, version: str, **_: Any) -> Any:
        config = model_config_pb2.ModelConfig(name=name, platform="tensorrt_plan")
        if name == "lumbar_grading":
            if version not in self.known:
                raise InferenceServerException("unknown model", "StatusCode.NOT_FOUND")
            config.platform = "ensemble"
            config.ensemble_scheduling.step.add(model_name="disc_grading", model_version=10 + int(version))
        return SimpleNamespace(config=config)


@pytest.fixture
async def client() -> Any:
    async with TritonClient("127.0.0.1:9") as made:
        connections = made._client, made._about
        yield made
        made._client, made._about = connections


async def _grade(client: TritonClient, server: _Server) -> dict[str, str]:
    client._client = client._about = server
    tensors = await client.grade(GRID)
    return {model.name: model.version for model in await client.models(tensors.release)}


async def test_the_release_that_answered_names_its_members(client: TritonClient) -> None:
    server = _Server(["2"], {"1", "2"})
    assert await _grade(client, server) == {"lumbar_grading": "2", "disc_grading": "12"}
    assert server.graded == 1


async def test_a_known_release_that_left_service_while_it_answered(client: TritonClient) -> None:
    await _grade(client, _Server(["1"], {"1"}))
    server = _Server(["1"], {"2"})
    assert await _grade(client, server) == {"lumbar_grading": "1", "disc_grading": "11"}
    assert server.graded == 1


async def test_an_unknown_release_that_left_service_is_asked_again(client: TritonClient) -> None:
    server = _Server(["1", "2"], {"2"})
    assert await _grade(client, server) == {"lumbar_grading": "2", "disc_grading": "12"}
    assert server.graded == 2


async def test_releases_that_change_without_end(client: TritonClient) -> None:
    server = _Server(["1", "2", "3", "4"], set())
    with pytest.raises(InferenceUnavailable, match="changes releases faster"):
        await _grade(client, server)
    assert server.graded == 3


async def test_a_release_that_only_some_servers_have_is_asked_of_the_next(client: TritonClient) -> None:
    class Canary(_Server):
        """Every third server has the release that answered."""

        asked = 0

        async def get_model_config(self, name: str, version: str, **options: Any) -> Any:
            self.asked += 1
            self.known = {"2"} if self.asked % 3 == 0 else {"1"}
            return await super().get_model_config(name, version, **options)

    server = Canary(["2"], set())
    assert await _grade(client, server) == {"lumbar_grading": "2", "disc_grading": "12"}
    assert server.graded == 1
