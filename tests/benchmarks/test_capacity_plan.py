"""Replicas from measurements: what must hold of any plan, and of one that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.capacity import report
from benchmarks.capacity.arrivals import DAY, Day
from benchmarks.capacity.limits import limits
from benchmarks.capacity.measure import KINDS, MIX, STANDARD
from benchmarks.capacity.plan import Machine, Services, Wish, plans, predicted_closed, predicted_open
from benchmarks.capacity.queueing import Turns

MACHINE = Machine("two cores", 0.5, measured=True)


def _run(slices: int) -> dict[str, Any]:
    cpu = 0.2 + 0.04 * slices
    roles = {"gateway": 0.25, "tritonserver": 0.05, "disc_segmentation": 0.55, "disc_crop": 0.05, "disc_grading": 0.1}
    return {
        "slices": slices,
        "matrix": 448,
        "uploaded_bytes": 300_000 * slices,
        "grid_voxels": 300_000 * slices,
        "seconds": [cpu, cpu],
        "cpu_seconds": [0.9 * cpu, 1.1 * cpu],
        "cpu_by_role": {role: share * cpu for role, share in roles.items()},
    }


@pytest.fixture
def figures() -> dict[str, Any]:
    """Of a machine that needs 0.2 s and 40 ms a slice, of a core, and half of that where it is full."""
    kinds = {kind: _run(slices) for kind, (slices, _) in KINDS.items()}
    closed = {
        str(clients): {"studies_per_second": 2.5, "cpu_seconds_a_study": 0.8, "seconds": [0.8, 0.9, 1.0]}
        for clients in (1, 2, 4, 8)
    }
    run = {"rate": 0.5, "arrivals": [0.0, 0.1, 9.0], "kinds": [STANDARD] * 3, "seconds": [0.8, 1.2, 0.8]}
    return {
        "machine": {
            **{"cores": 2, "cpu": "a CPU", "memory_gib": 8, "python": "3.11.9", "discgrade": "0", "date": "today"}
        },
        "kinds": kinds,
        "closed": closed,
        "open": {"40%": run},
        "memory_mib": {"idle": {"gateway": 100.0}, "after": {"gateway": 200.0}},
        "kept_bytes_a_study": 5e6,
    }


@pytest.fixture
def services(figures: dict[str, Any]) -> Services:
    return Services.measured(figures)


def test_a_full_machine_says_how_long_it_is_busy(services: Services) -> None:
    assert services.samples[STANDARD].mean() == pytest.approx(0.4)
    assert services.samples["1 x 448"].mean() == pytest.approx(0.4 * 0.24 / 0.8)
    assert services.beside[STANDARD] == pytest.approx(0.4)
    assert services.mean == pytest.approx(sum(share * (0.2 + 0.04 * KINDS[kind][0]) / 2 for kind, share in MIX.items()))


def test_on_a_gpu_the_networks_leave_the_cores(figures: dict[str, Any]) -> None:
    services = Services.with_gpu(figures, cores=4, slice_seconds=0.002)
    assert services.samples[STANDARD].mean() == pytest.approx(0.35 * 0.8 / 4 + 15 * 0.002)


def test_predictions_of_what_was_measured(figures: dict[str, Any], services: Services) -> None:
    assert predicted_closed(services, 1, 50).mean() == pytest.approx(0.8, rel=0.1)
    assert predicted_closed(services, 4, 50)[-1] == pytest.approx(4 * 0.4 + 0.4, rel=0.2)
    first, second, third = predicted_open(services, figures["open"]["40%"])
    assert second - 0.3 == pytest.approx(first, abs=0.17)  # it waits 0.3 s, and each takes 0.36 or 0.44
    assert third == pytest.approx(0.8, abs=0.05)


def test_more_studies_need_no_fewer_replicas(services: Services) -> None:
    wish = Wish(0.95, 5.0, DAY)
    found = plans(services, MACHINE, wish, rates=(10, 300, 3000, 6000))
    assert [plan.rate for plan in found] == [10, 300, 3000, 6000]
    replicas = [plan.replicas for plan in found]
    assert replicas == sorted(replicas)
    assert all(plan.waits[1] <= 5.0 for plan in found)
    assert all(list(plan.waits) == sorted(plan.waits) for plan in found)
    assert found[-1].a_month == pytest.approx(replicas[-1] * 0.5 * 730)
    assert found[-1].a_thousand == pytest.approx(found[-1].a_month / (6000 * 730) * 1000)
    least = 6000 / 3600 * services.mean * DAY.peak  # fewer would not do the busiest hour
    assert replicas[-1] >= least
    for plan in found:
        assert plan.busy == pytest.approx(plan.rate / 3600 * services.mean / plan.replicas, rel=0.25)


def test_who_wishes_more_needs_more(services: Services) -> None:
    def needed(share: float, seconds: float, turns: Turns = Turns.ROUND_ROBIN, day: Day = DAY) -> int:
        return plans(services, MACHINE, Wish(share, seconds, day), turns, (6000,))[0].replicas

    usual = needed(0.95, 2.0)
    assert needed(0.99, 2.0) >= usual
    assert needed(0.95, 0.5) > usual
    assert needed(0.95, 2.0, Turns.SHARED) <= usual
    assert needed(0.95, 2.0, day=Day((1,) * 24, 0.0, 1)) < usual


def test_each_part_has_an_end(figures: dict[str, Any], services: Services) -> None:
    found = {limit.what: limit.an_hour for limit in limits(figures, services, DAY)}
    assert all(np.isfinite(rate) and rate > 0 for rate in found.values())
    assert found["one replica, evenly"] == pytest.approx(3600 / services.mean)
    assert found["one replica, at its busiest hour"] < found["one replica, evenly"]


def test_the_page_is_written(figures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr("benchmarks.capacity.plan.RATES", (1, 100))
    on_gpu = Services.with_gpu(figures, 4, 0.002)
    report.write(figures, MACHINE, Machine("one with a GPU", 1.0, measured=False), on_gpu, Wish(0.95, 5.0, DAY))
    text = (tmp_path / "capacity.md").read_text()
    assert "a study of 15 slices takes 0.80 s, and 0.80 s of a core" in text
    assert "9,000 of them an hour" in text
    for name in ("costs", "validation", "plan"):
        assert f"(capacity/{name}.png)" in text
        assert (tmp_path / "capacity" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
