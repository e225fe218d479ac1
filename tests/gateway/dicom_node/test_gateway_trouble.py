"""A node whose gateway is away, fails, forgets, or does not let it in."""

from __future__ import annotations

from pathlib import Path

from discgrade.errors import InferenceFailed
from tests.support.node_house import House
from tests.support.pacs import until


def test_a_gateway_that_is_away_gets_the_study_when_it_is_back(house: House, study_files: list[Path]) -> None:
    with house.node() as node:
        node.push(study_files)
        until(lambda: node.metric("gateway_failures", problem="inference-unavailable") >= 1)
        assert node.metric("revisions", state="waiting") == 1
    with house.node() as node, house.gateway():
        until(lambda: node.metric("revisions", state="done") == 1)
    assert len(list((house.folder / "gateway" / "results").iterdir())) == 1


def test_a_gateway_in_trouble_is_given_the_study_once_more(house: House, study_files: list[Path]) -> None:
    house.grader.error = InferenceFailed("broken")
    with house.gateway(job_attempts=1), house.node() as node:
        node.push(study_files)
        until(lambda: node.metric("revisions", state="waiting") == 1 and house.grader.started.is_set())
        house.grader.error = None
        until(lambda: node.metric("revisions", state="done") == 1)


def test_a_gateway_that_lost_everything_is_given_the_study_again(house: House, study_files: list[Path]) -> None:
    with house.node(destinations={}) as node:
        with house.gateway(run_worker=False, jobs_at_once=1):
            node.push(study_files)
            until(lambda: node.metric("revisions", state="grading") == 1)
        (house.folder / "gateway").rename(house.folder / "burnt")
        with house.gateway():
            until(lambda: node.metric("revisions", state="done") == 1)
            assert node.metric("gateway_failures", problem="not-found") >= 1


def test_a_wrong_key_loses_nothing(house: House, study_files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("dg_wrong")
    shut = house.gateway(door="on", oidc_issuer="https://issuer.invalid")
    with shut, house.node(api_key_file=tmp_path / "key") as node:
        node.push(study_files)
        until(lambda: node.metric("gateway_failures", problem="unauthenticated") >= 1)
        assert node.metric("revisions", state="waiting") == 1
