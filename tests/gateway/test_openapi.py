from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from discgrade import errors
from discgrade.errors import DiscgradeError
from discgrade.result import DISCLAIMER, GradingResult
from gateway.app import create_app
from gateway.settings import Settings
from tests.support.truth import TruthGrader
from training.phantom import Phantom


@pytest.fixture
def schema(phantom: Phantom, tmp_path: Path) -> dict[str, Any]:
    return create_app(Settings(data_dir=tmp_path), lambda: TruthGrader(phantom)).openapi()


def problem_examples(responses: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, response in responses.items():
        content = response.get("content", {}).get("application/problem+json")
        if content:
            for example in content["examples"].values():
                yield status, example["value"]


def test_the_example_of_a_result_is_a_result(schema: dict[str, Any]) -> None:
    response = schema["paths"]["/v1/grade"]["post"]["responses"]["201"]["content"]["application/json"]
    GradingResult.model_validate(response["example"])
    assert response["schema"] == {"$ref": "#/components/schemas/GradingResult"}
    assert DISCLAIMER in schema["components"]["schemas"]["GradingResult"]["description"]


def test_every_kind_of_problem_has_an_example_under_its_status(schema: dict[str, Any]) -> None:
    seen = set()
    for path in schema["paths"].values():
        for operation in path.values():
            for status, problem in problem_examples(operation["responses"]):
                assert status in (str(problem["status"]), "default")
                assert problem.keys() >= {"type", "title", "status", "detail", "advice", "instance", "request_id"}
                seen.add(problem["type"])
    kinds: list[type[DiscgradeError]] = [getattr(errors, name) for name in errors.__all__]
    concrete = {kind.problem_type() for kind in kinds if not kind.__subclasses__()}
    assert seen >= concrete


def test_the_upload_is_described_as_files(schema: dict[str, Any]) -> None:
    body = schema["paths"]["/v1/grade"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["properties"]["files"]["items"]["format"] == "binary"


def test_the_disclaimer_is_in_the_descriptions(schema: dict[str, Any]) -> None:
    assert DISCLAIMER in schema["info"]["description"]
    for path, operations in schema["paths"].items():
        if "grade" in path or "results" in path:
            for operation in operations.values():
                assert DISCLAIMER in operation["description"]


def test_nothing_is_described_that_never_happens(schema: dict[str, Any]) -> None:
    """FastAPI adds a 422 of its own to every route with parameters; ours are problem documents."""
    assert "HTTPValidationError" not in schema["components"]["schemas"]
