"""Runs the race and writes ``benchmarks/report.md``: ``make bench``."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tritonclient.grpc import InferenceServerClient

from benchmarks.race import contenders as field
from benchmarks.race.contenders import Contender, Discgrade
from benchmarks.race.measure import latency, memory, throughput, warm_up
from benchmarks.race.plots import draw
from benchmarks.race.report import report
from benchmarks.race.results import Results, machine
from benchmarks.race.scale import FULL, QUICK, Scale
from benchmarks.race.studies import Study, make_study
from gateway.metrics import STAGES
from training.phantom import PhantomSpec

HOME = Path(__file__).parents[1]


def main() -> None:
    """Measure, then write figures, plots and the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few small studies: shows that it works, not how fast")
    parser.add_argument("--out", type=Path, default=HOME, help="folder of the report")
    options = parser.parse_args()
    results = measure(QUICK if options.quick else FULL)
    kept = options.out / "results"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "race.json").write_text(results.model_dump_json(indent=1) + "\n")
    plots = draw(results, kept)
    (options.out / "report.md").write_text(report(results, [plot.relative_to(options.out) for plot in plots]))
    print(f"wrote {options.out / 'report.md'}")


def measure(scale: Scale) -> Results:
    """Start all contenders, let them grade, end them.

    Args:
        scale: How much.
    """
    with tempfile.TemporaryDirectory(prefix="discgrade-race-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        study = make_study(scale.study, folder / "study")
        others = [stack.enter_context(field.baseline()), stack.enter_context(field.pytriton())]  # start side by side
        server = stack.enter_context(field.discgrade())
        house, bare = field.end_to_end(server), field.bare()
        everybody = [*house, *bare, *others, field.ensemble(server)]
        warm_up(everybody, study, scale.warm_up)
        alone = latency(everybody, study, scale.rounds)
        stages, triton = _inside(server, study, scale.rounds)
        at_once = [one for one in everybody if one.key not in ("b, INT8", "b, served engine", "b, region")]
        rates = {clients: throughput(at_once, study, clients, scale.seconds) for clients in scale.clients}
        beside = [house[0], bare[-1]]
        sizes = {name: _by_size(beside, specs, folder / name, scale.repeats) for name, specs in scale.sizes().items()}
        small = make_study(scale.small, folder / "small")
        return Results(
            machine=machine(
                next(model.engine for model in server.client.models() if model.name == "disc_segmentation")
            ),
            contenders={one.key: one.what for one in everybody},
            latency_ms=alone,
            throughput=rates,
            stages_ms=stages,
            triton_ms=triton,
            slices_ms=sizes["slices"],
            matrix_ms=sizes["matrix"],
            field_ms=sizes["field"],
            memory=memory(house[1], server.process.pid, small, scale.memory_studies, clients=4),
            bytes=study.bytes,
            grid=study.tensors["IMAGE"].shape,
        )


def _by_size(
    contenders: list[Contender], specs: dict[int, PhantomSpec], folder: Path, repeats: int
) -> dict[int, dict[str, float]]:
    studies = {size: make_study(spec, folder / str(size)) for size, spec in specs.items()}
    spent: dict[int, dict[str, list[float]]] = {size: {one.key: [] for one in contenders} for size in specs}
    for study in studies.values():
        warm_up(contenders, study, 2)  # engines prepare for each new shape
    for _ in range(repeats):  # sizes in turn, so that what slows one for a while slows all
        for size, study in studies.items():
            for key, times in latency(contenders, study, 1).items():
                spent[size][key] += times
    return {size: {key: statistics.median(times) for key, times in one.items()} for size, one in spent.items()}


def _inside(server: Discgrade, study: Study, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of the stages of (a), and what each model computed in the mean, in milliseconds."""
    client = InferenceServerClient(server.triton)
    before = _computed_ms(client)
    timings = [server.client.grade(study.files).timings_ms for _ in range(rounds)]
    models = {name: (spent - before[name]) / rounds for name, spent in _computed_ms(client).items()}
    return {stage: statistics.median(one[stage] for one in timings) for stage in STAGES}, models


def _computed_ms(client: InferenceServerClient) -> dict[str, float]:
    """So far; the ensemble computes nothing of its own, so its whole time."""
    return {
        model.name: (model.inference_stats.compute_infer.ns or model.inference_stats.success.ns) / 1e6
        for model in client.get_inference_statistics().model_stats
    }


if __name__ == "__main__":
    main()
