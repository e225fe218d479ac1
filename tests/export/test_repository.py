"""Releases are added whole or not at all, and never over what is there."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from unittest.mock import patch

import pytest

import model_repository
from export.configs import engine_keys, texts, write_configs
from export.errors import ReleaseExists, ReleaseProblem, RepositoryProblem
from export.lifecycle import Lifecycle
from export.models import CANARY, MEMBERS, NETWORKS, PIPELINE
from export.repository import RELEASE, Repository
from export.service import Canary, Service, read_service
from tests.support.repository import first_release

FILES = {name: {"model.onnx": b"network", "manifest.json": b"{}"} for name in NETWORKS}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return first_release(tmp_path / "repository")


def _everything(repository: Repository) -> dict[str, bytes]:
    return {str(p.relative_to(repository.root)): p.read_bytes() for p in repository.root.rglob("*") if p.is_file()}


def test_a_new_repository_serves_what_the_installed_one_serves(tmp_path: Path) -> None:
    repository = Repository.new(tmp_path / "repository")
    installed = Repository(model_repository.path())
    assert repository.service == installed.service
    assert repository.releases() == installed.releases()
    assert repository.next_number() == installed.releases()[-1].number + 1
    for name in NETWORKS:
        assert repository.network(name).read_bytes() == installed.network(name).read_bytes()
    with pytest.raises(RepositoryProblem, match="exists"):
        Repository.new(repository.root)


def test_a_release_is_added_but_not_served(repository: Repository) -> None:
    before = _everything(repository)
    release = repository.add(2, FILES, {"engine": "onnx"})
    assert release.members == {"disc_segmentation": 2, "disc_crop": 1, "disc_grading": 2}
    assert repository.releases()[-1] == release
    assert repository.service == Service.first()
    after = _everything(repository)
    assert after.keys() - before.keys() == {
        *(f"{name}/2/{file}" for name, files in FILES.items() for file in files),
        f"{PIPELINE}/2/{RELEASE}",
    }
    assert all(after[name] == content for name, content in before.items())
    folder = repository.root / "disc_grading" / "2"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755  # tritonserver is another user


def test_versions_are_never_overwritten(repository: Repository) -> None:
    (repository.root / "disc_grading" / "2").mkdir()
    before = _everything(repository)
    with pytest.raises(ReleaseExists, match="disc_grading has a version 2 already"):
        repository.add(2, FILES, {})
    assert _everything(repository) == before
    assert repository.next_number() == 3


def test_nothing_is_left_of_a_release_that_could_not_be_finished(repository: Repository) -> None:
    before = _everything(repository)
    with (
        patch("export.repository.os.fsync", side_effect=OSError(28, "No space left on device")),
        pytest.raises(OSError, match="No space left"),
    ):
        repository.add(2, FILES, {})
    assert _everything(repository) == before
    assert not list((repository.root / PIPELINE).glob(".incoming-*"))


def test_what_is_no_repository(tmp_path: Path, repository: Repository) -> None:
    with pytest.raises(RepositoryProblem, match="no model repository"):
        Repository(tmp_path)
    ensemble = repository.root / PIPELINE / "config.pbtxt"
    ensemble.write_text(ensemble.read_text().replace("model_version: 1", "model_version: -1"))
    with pytest.raises(RepositoryProblem, match="does not name one release"):
        Repository(repository.root)


def test_a_damaged_release_is_named(repository: Repository) -> None:
    (repository.root / PIPELINE / "1" / RELEASE).write_text("{}")
    with pytest.raises(RepositoryProblem, match="members"):
        repository.releases()


def test_configs_say_what_is_in_service_and_are_read_back(repository: Repository) -> None:
    service = Service(3, {**dict.fromkeys(MEMBERS, 3), "disc_crop": 1}, dict.fromkeys(MEMBERS, (1, 3)), previous=1)
    assert write_configs(repository.root, service)
    assert read_service(repository.root) == service
    assert write_configs(repository.root, service) == []  # nothing to change


def test_engines_of_a_host_get_a_config_of_their_own(repository: Repository) -> None:
    write_configs(repository.root, Service.first(), "NVIDIA-H200_sm90_trt10.13.3.9")
    assert engine_keys(repository.root) == ["NVIDIA-H200_sm90_trt10.13.3.9"]
    text = (repository.root / "disc_grading" / "configs" / "NVIDIA-H200_sm90_trt10.13.3.9.pbtxt").read_text()
    assert 'default_model_filename: "model.NVIDIA-H200_sm90_trt10.13.3.9.plan"' in text
    repository.add(2, FILES, {})
    after = Service(2, {**dict.fromkeys(MEMBERS, 2), "disc_crop": 1}, dict.fromkeys(MEMBERS, (1, 2)), previous=1)
    write_configs(repository.root, after)  # the host's variant keeps up with the others
    assert (
        "versions: [1, 2]"
        in (repository.root / "disc_grading" / "configs" / f"{engine_keys(repository.root)[0]}.pbtxt").read_text()
    )
    assert set(texts(after)) < set(texts(after, engine_keys(repository.root)))


def test_promotion_without_servers_changes_the_files_alone(repository: Repository) -> None:
    repository.add(2, FILES, {})
    lifecycle = Lifecycle(repository, [])
    assert [(one.release.number, one.in_service) for one in lifecycle.states()] == [(1, True), (2, False)]
    service = lifecycle.promote(2)
    assert (service.release, service.previous, service.loaded["disc_grading"]) == (2, 1, (1, 2))
    assert lifecycle.rollback().release == 1
    assert lifecycle.rollback().release == 2  # back again
    assert repository.service.members == {"disc_segmentation": 2, "disc_crop": 1, "disc_grading": 2}
    assert lifecycle.promote(2).previous == 1  # asked for twice: the release to return to stays


def test_what_cannot_be_promoted(repository: Repository) -> None:
    with pytest.raises(ReleaseProblem, match=r"no release 7 .* there are: 1"):
        Lifecycle(repository, []).promote(7)
    with pytest.raises(ReleaseProblem, match="No release was in service before"):
        Lifecycle(repository, []).rollback()


def test_a_server_that_is_not_there_changes_nothing(repository: Repository) -> None:
    repository.add(2, FILES, {})
    before = _everything(repository)
    with pytest.raises(ReleaseProblem, match=r"tritonserver at 127\.0\.0\.1:9 does not answer"):
        Lifecycle(repository, ["127.0.0.1:9"]).promote(2)
    assert _everything(repository) == before


def test_two_changes_at_once(repository: Repository) -> None:
    folder = os.open(repository.root / PIPELINE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(ReleaseProblem, match="Someone else"):
            Lifecycle(repository, []).promote(1)
    finally:
        os.close(folder)
    assert Lifecycle(repository, []).promote(1).release == 1


def _with_releases(repository: Repository, *numbers: int) -> Lifecycle:
    for number in numbers:
        repository.add(number, FILES, {})
    return Lifecycle(repository, [])


def test_a_canary_is_an_ensemble_beside_the_one_in_service(repository: Repository) -> None:
    lifecycle = _with_releases(repository, 2)
    before = _everything(repository)
    service = lifecycle.canary(2, 0.05)
    assert (service.release, service.previous, service.loaded["disc_grading"]) == (1, None, (1, 2))
    assert service.canary == Canary(2, {"disc_segmentation": 2, "disc_crop": 1, "disc_grading": 2}, 0.05)
    assert repository.service == service
    stable = f"{PIPELINE}/config.pbtxt"
    assert _everything(repository)[stable] == before[stable]
    assert sorted(path.name for path in (repository.root / CANARY).iterdir()) == ["2", "config.pbtxt"]
    for network in NETWORKS:
        for path in (repository.root / network).rglob("*.pbtxt"):
            assert "versions: [1, 2]" in path.read_text()
    assert [(one.release.number, one.in_service, one.share) for one in lifecycle.states()] == [
        (1, True, 0.0),
        (2, False, 0.05),
    ]
    lifecycle.rollback()
    assert _everything(repository) == before
    assert not (repository.root / CANARY).exists()


def test_a_canary_is_promoted(repository: Repository) -> None:
    lifecycle = _with_releases(repository, 2)
    lifecycle.canary(2, 0.05)
    service = lifecycle.promote(2)
    assert (service.release, service.previous, service.canary) == (2, 1, None)
    assert service == repository.service
    assert not (repository.root / CANARY).exists()


def test_a_canary_gives_way_to_another(repository: Repository) -> None:
    lifecycle = _with_releases(repository, 2, 3)
    lifecycle.canary(2, 0.05)
    assert (lifecycle.canary(2, 0.5).canary or Canary(0, {}, 0)).share == 0.5
    service = lifecycle.canary(3, 0.1)
    assert service.canary is not None
    assert (service.canary.release, service.loaded["disc_grading"]) == (3, (1, 3))
    assert sorted(path.name for path in (repository.root / CANARY).iterdir()) == ["3", "config.pbtxt"]
    assert lifecycle.promote(2).canary is None


def test_to_end_a_canary_keeps_the_way_back(repository: Repository) -> None:
    lifecycle = _with_releases(repository, 2, 3)
    promoted = lifecycle.promote(2)
    assert lifecycle.canary(3, 0.1).loaded["disc_grading"] == (2, 3)  # never more than two in memory
    assert lifecycle.rollback() == promoted
    assert lifecycle.rollback().release == 1


def test_what_is_no_canary(repository: Repository) -> None:
    lifecycle = _with_releases(repository, 2)
    with pytest.raises(ReleaseProblem, match="Release 1 answers already"):
        lifecycle.canary(1, 0.05)
    with pytest.raises(ReleaseProblem, match="no release 7"):
        lifecycle.canary(7, 0.05)
    assert repository.service == Service.first()
