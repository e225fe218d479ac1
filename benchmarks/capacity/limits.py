"""Where each part of a suite is at its end: reckoned from what was measured and from the settings' defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.capacity.arrivals import Day
from benchmarks.capacity.measure import MIX
from benchmarks.capacity.plan import Services
from gateway.settings import Settings

__all__ = ["Limit", "limits"]

_GIGABIT = 125e6
_DISK_BYTES = 100e9
_TENSOR_BYTES = 4
"""Of a voxel on its way to tritonserver and back: the image; labels, disc probability and instances."""


@dataclass(frozen=True)
class Limit:
    """The end of one part.

    Attributes:
        what: The part.
        an_hour: Studies.
        how: What it was reckoned from.
        then: What happens there, and what to do.
    """

    what: str
    an_hour: float
    how: str
    then: str


def limits(figures: Mapping[str, Any], services: Services, day: Day) -> list[Limit]:
    """Of one replica and of what all replicas share.

    Args:
        figures: From :func:`benchmarks.capacity.measure.measure`.
        services: How long a replica works on a study.
        day: How studies spread over it.
    """
    settings = Settings.model_fields
    kinds = figures["kinds"]

    def of_mix(figure: str) -> float:
        return float(sum(share * np.mean(kinds[kind][figure]) for kind, share in MIX.items()))

    gateway = sum(share * kinds[kind]["cpu_by_role"]["gateway"] for kind, share in MIX.items())
    kept_hours, kept = settings["keep_hours"].default, settings["keep_results"].default
    queued = settings["max_queued_jobs"].default
    ahead = settings["admission_ahead_seconds"].default
    bytes_each = figures["kept_bytes_a_study"]
    through = of_mix("grid_voxels") * _TENSOR_BYTES
    uploaded = of_mix("uploaded_bytes")
    capacity = 3600 / services.mean
    return [
        Limit(
            "results kept",
            kept / kept_hours,
            f"`DISCGRADE_KEEP_RESULTS` {kept:,} over `DISCGRADE_KEEP_HOURS` {kept_hours:g}",
            "the oldest results go before their time: raise it, watch the disk",
        ),
        Limit(
            "one replica, at its busiest hour",
            capacity / day.peak,
            f"{services.mean:.2f} s a study, the busiest hour {day.peak:.1f} times the mean",
            "the queue grows: more replicas, more cores",
        ),
        Limit(
            "one replica, evenly",
            capacity,
            f"{services.mean:.2f} s a study, measured with 8 clients",
            f"503 with `Retry-After` for studies with more than {ahead:g} s of work before them; jobs wait",
        ),
        Limit(
            "jobs waiting",
            capacity + queued,
            f"`DISCGRADE_MAX_QUEUED_JOBS` {queued:,} more than are graded, for one hour",
            "503 for new jobs; those accepted are kept",
        ),
        Limit(
            "disk of 100 GB, results",
            _DISK_BYTES / (bytes_each * kept_hours),
            f"{bytes_each / 1e6:.1f} MB a result, measured, for {kept_hours:g} h",
            "studies are refused with 503: a larger disk, fewer hours, or a bucket",
        ),
        Limit(
            "one gateway of 4 cores, tritonserver elsewhere",
            4 / gateway * 3600,
            f"{gateway:.2f} s of a core a study, measured",
            "more gateways: they share nothing but the stores",
        ),
        Limit(
            "1 Gbit/s between gateways and tritonservers",
            _GIGABIT / through * 3600,
            f"{through / 1e6:.0f} MB of tensors a study",
            "gateway and tritonserver on one host, or a faster network",
        ),
        Limit(
            "1 Gbit/s into the gateways",
            _GIGABIT / uploaded * 3600,
            f"{uploaded / 1e6:.0f} MB a study",
            "uploads take longer; nothing is lost",
        ),
    ]
