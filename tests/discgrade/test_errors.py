from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from discgrade import errors
from discgrade.errors import DiscgradeError, InputError

GRPC_CODES = {
    "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "NOT_FOUND", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED",
    "UNAUTHENTICATED", "PERMISSION_DENIED", "FAILED_PRECONDITION",
}  # fmt: skip


def tree(kind: type[DiscgradeError] = DiscgradeError) -> Iterator[type[DiscgradeError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


ALL = list(tree())


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = re.findall(r"[├└]── (\w+)(?: +(\d{3}))?", errors.__doc__ or "")
    assert {name for name, _ in drawn} == {kind.__name__ for kind in ALL} - {"DiscgradeError"}
    for name, status in drawn:
        if status:
            assert getattr(errors, name).status == int(status)


def test_all_errors_are_exported() -> None:
    assert sorted(errors.__all__) == sorted(kind.__name__ for kind in ALL)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_kind_knows_what_it_means(kind: type[DiscgradeError]) -> None:
    HTTPStatus(kind.status)
    family = 4 if issubclass(kind, InputError) else 5
    assert kind.status // 100 == family
    assert kind.grpc_code in GRPC_CODES
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.slug)
    assert kind.default_advice.endswith((".", "'.", "/docs."))
    assert kind.title


def test_problem_types_are_unique() -> None:
    leaves = [kind for kind in ALL if not kind.__subclasses__()]
    assert len({kind.problem_type() for kind in leaves}) == len(leaves)


def test_the_page_of_problems_names_each_with_its_codes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "problems.md").read_text()
    rows = set(re.findall(r"^\| `([^`]+)` \| (\d{3}) \| `(\w+)` \|", page, re.MULTILINE))
    families = {kind.__base__ for kind in ALL}
    named = [kind for kind in ALL if kind not in families] + [errors.ServiceError]
    assert rows == {(kind.problem_type(), str(kind.status), kind.grpc_code) for kind in named}


def test_a_problem_has_the_advice_given_or_that_of_its_kind() -> None:
    assert errors.SliceGap("Slice 3 is missing.").problem() == {
        "type": "urn:discgrade:problem:slice-gap",
        "title": "Slices are missing from the series",
        "status": 422,
        "detail": "Slice 3 is missing.",
        "advice": "Send every slice of the series.",
    }
    assert errors.SliceGap("Slice 3 is missing.", "Send slice 3.").problem()["advice"] == "Send slice 3."
    assert str(errors.SliceGap("Slice 3 is missing.")) == "Slice 3 is missing."
