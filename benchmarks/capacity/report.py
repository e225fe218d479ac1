"""Writes docs/capacity.md and its pictures from the figures that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from benchmarks.capacity.limits import limits
from benchmarks.capacity.measure import MIX, STANDARD
from benchmarks.capacity.pictures import draw_costs, draw_plans, draw_validation
from benchmarks.capacity.plan import Machine, Plan, Services, Wish, plans, predicted_closed, predicted_open
from benchmarks.capacity.queueing import Turns
from benchmarks.tables import table
from gateway.settings import Settings

__all__ = ["write"]

DOCS = Path(__file__).parents[2] / "docs"
_TEMPLATE = Path(__file__).with_name("report.md.j2")
Runs = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def write(figures: Mapping[str, Any], cpu: Machine, gpu: Machine, on_gpu: Services, wish: Wish) -> None:
    """Write the page and its pictures.

    Args:
        figures: From :func:`benchmarks.capacity.measure.measure`.
        cpu: The machine that was measured, with its price.
        gpu: Another, assumed, with its price.
        on_gpu: How long that one works on a study.
        wish: How long studies may wait.
    """
    pictures = DOCS / "capacity"
    pictures.mkdir(exist_ok=True)
    services = Services.measured(figures)
    kinds, standard = figures["kinds"], figures["kinds"][STANDARD]
    compared = _compared(figures, services)
    by_cpu, by_gpu = plans(services, cpu, wish), plans(on_gpu, gpu, wish)
    draw_costs(kinds, pictures / "costs.png")
    draw_validation(compared, pictures / "validation.png")
    draw_plans((by_cpu, by_gpu), pictures / "plan.png")
    sizes = np.array([(run["slices"], np.mean(run["cpu_seconds"])) for run in kinds.values() if run["matrix"] == 448])
    slope, base = np.polyfit(sizes[:, 0], sizes[:, 1], 1)
    template = jinja2.Template(_TEMPLATE.read_text(), undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    text = template.render(
        machine=figures["machine"],
        alone=np.median(standard["seconds"]),
        alone_cpu=np.mean(standard["cpu_seconds"]),
        standard_an_hour=3600 * figures["closed"]["8"]["studies_per_second"],
        mix_an_hour=3600 / services.mean,
        slice_ms=1000 * slope,
        study_ms=1000 * base,
        on_gpu=on_gpu.samples[STANDARD].mean(),
        mix=", ".join(f"{share:.0%} of {kind.replace('x', '×')}" for kind, share in MIX.items()),
        wish=wish,
        cpu=cpu,
        gpu=gpu,
        saved=_fewer(by_cpu, plans(services, cpu, wish, Turns.SHARED)),
        stricter=", ".join(
            f"{plan.rate:,}: {plan.replicas}" for plan in plans(services, cpu, replace(wish, share=0.99))
        ),
        largest=by_cpu[-1],
        ahead=Settings.model_fields["admission_ahead_seconds"].default,
        costs=_costs(kinds),
        memory=_memory(figures["memory_mib"]),
        closed=_closed(figures["closed"]),
        validation=_validation(compared),
        cpu_plan=_plan(by_cpu),
        gpu_plan=_plan(by_gpu),
        limits=table(
            ["what", "studies an hour", "reckoned from", "then"],
            (
                [limit.what, f"{limit.an_hour:,.0f}", limit.how, limit.then]
                for limit in sorted(limits(figures, services, wish.day), key=lambda limit: limit.an_hour)
            ),
        ),
    )
    (DOCS / "capacity.md").write_text(text)
    print(text)


def _costs(kinds: Mapping[str, Any]) -> str:
    roles = list(kinds[STANDARD]["cpu_by_role"])
    return table(
        ["slices × matrix", "uploaded", "until the answer, p50", "s of a core", *(f"`{role}`" for role in roles)],
        (
            [
                kind.replace("x", "×"),
                f"{run['uploaded_bytes'] / 1e6:.1f} MB",
                f"{np.median(run['seconds']):.2f} s",
                f"{np.mean(run['cpu_seconds']):.2f}",
                *(f"{run['cpu_by_role'][role]:.2f}" for role in roles),
            ]
            for kind, run in kinds.items()
        ),
    )


def _memory(memory: Mapping[str, Mapping[str, float]]) -> str:
    return table(
        ["process", "memory at the start", "after all runs below"],
        (
            [f"`{role}`", f"{memory['idle'][role]:.0f} MiB", f"{memory['after'][role]:.0f} MiB"]
            for role in memory["idle"]
        ),
    )


def _closed(runs: Mapping[str, Any]) -> str:
    return table(
        ["clients", "studies an hour", "p50 s", "p95 s", "s of a core a study"],
        (
            [
                clients,
                f"{run['studies_per_second'] * 3600:,.0f}",
                *(f"{value:.2f}" for value in np.percentile(run["seconds"], (50, 95))),
                f"{run['cpu_seconds_a_study']:.2f}",
            ]
            for clients, run in runs.items()
        ),
    )


def _compared(figures: Mapping[str, Any], services: Services) -> Runs:
    """Seconds until the answer of each run that the model was not made from, measured and predicted."""
    found = {}
    for clients in ("2", "4"):
        measured = np.array(figures["closed"][clients]["seconds"])
        found[f"{clients} clients"] = (measured, predicted_closed(services, int(clients), len(measured)))
    for load, run in figures["open"].items():
        found[f"{run['rate'] * 3600:,.0f} an hour, load {load}"] = (
            np.array(run["seconds"]),
            predicted_open(services, run),
        )
    return found


def _validation(compared: Runs) -> str:
    def pair(measured: float, predicted: float) -> str:
        return f"{measured:.2f} / {predicted:.2f}"

    return table(
        ["run", "studies", "mean s, measured / predicted", "p50", "p95", "predicted mean is off by"],
        (
            [
                name,
                len(measured),
                pair(float(measured.mean()), float(predicted.mean())),
                *(pair(*(float(np.percentile(run, share)) for run in (measured, predicted))) for share in (50, 95)),
                f"{predicted.mean() / measured.mean() - 1:+.0%}",
            ]
            for name, (measured, predicted) in compared.items()
        ),
    )


def _plan(chosen: Sequence[Plan]) -> str:
    return table(
        [
            "studies an hour",
            "replicas",
            "wait p50 / p95 / p99",
            "most in the house",
            "busy",
            "a month",
            "1,000 studies",
        ],
        (
            [
                f"{plan.rate:,}",
                plan.replicas,
                " / ".join(f"{wait:.1f}" for wait in plan.waits[:3]) + " s",
                plan.most_present,
                f"{plan.busy:.1%}",
                f"{plan.a_month:,.0f}",
                f"{plan.a_thousand:,.2f}",
            ]
            for plan in chosen
        ),
    )


def _fewer(in_turn: Sequence[Plan], shared: Sequence[Plan]) -> str:
    fewer = [
        f"{one.rate:,}: {other.replicas} instead of {one.replicas}"
        for one, other in zip(in_turn, shared, strict=True)
        if other.replicas < one.replicas
    ]
    return ", ".join(fewer) or "at none of these rates"
