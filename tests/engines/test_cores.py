from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.cores import available_cores


@pytest.fixture(autouse=True)
def _many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def _cores(tmp_path: Path, limits: dict[str, str], member_of: str) -> int:
    for folder, limit in limits.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cpu.max").write_text(limit)
    membership = tmp_path / "membership"
    membership.write_text(f"0::/{member_of}\n")
    return available_cores(tmp_path, membership)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("1000 100000", 1), ("max 100000", 64)],
)
def test_quota_bounds_the_cores(tmp_path: Path, limit: str, cores: int) -> None:
    assert _cores(tmp_path, {"": limit}, "") == cores


def test_an_ancestors_quota_counts_too(tmp_path: Path) -> None:
    limits = {"pod": "300000 100000", "pod/container": "max 100000", "other": "100000 100000"}
    assert _cores(tmp_path, limits, "pod/container") == 3


def test_affinity_counts_where_there_is_no_cgroup_v2(tmp_path: Path) -> None:
    (tmp_path / "v1").write_text("4:cpu:/\n")
    assert available_cores(tmp_path, tmp_path / "v1") == 64
    assert available_cores(tmp_path, tmp_path / "absent") == 64
