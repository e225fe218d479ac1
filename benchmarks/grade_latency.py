"""Latency of ``POST /v1/grade`` on a 15-slice study, and the share of it that the networks compute.

A real ``discgrade serve`` and a real tritonserver on this machine; a phantom study sent as its DICOM files and as one
zip. After each request its networks are run bare in this process, on the same tensors: a machine that slows down slows
both. Writes ``benchmarks/results/grade_latency.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferenceServerClient

import discgrade
import model_repository
from discgrade._process import serving
from discgrade.client import Client
from engines import Engine, available_cores, load_engine
from gateway import logs
from gateway.embedded import EmbeddedTriton
from gateway.metrics import STAGES
from preprocess.discs import find_and_crop
from preprocess.grid import to_grid
from preprocess.study import read_study
from training.phantom import PhantomSpec, make_phantom, write_dicom, write_zip

RESULTS = Path(__file__).parent / "results"
NETWORKS = ("disc_segmentation", "disc_grading")
WARM_UP = 3
CONCURRENCY = 4


@dataclass(frozen=True)
class Summary:
    """Median and 95th percentile, in milliseconds."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Sequential:
    """Requests one after the other: milliseconds of the whole, of its stages, and of what the stages wait for."""

    whole: Summary
    client_and_http: Summary
    stages: dict[str, Summary]
    triton: dict[str, Summary]
    networks_in_triton: Summary
    networks_bare: Summary

    @property
    def share_in_triton(self) -> float:
        """Networks' compute as Triton counts it, of the whole; medians."""
        return self.networks_in_triton.p50 / self.whole.p50

    @property
    def share_bare(self) -> float:
        """The same networks run bare, of the whole; medians."""
        return self.networks_bare.p50 / self.whole.p50


@dataclass(frozen=True)
class Concurrent:
    """Requests side by side."""

    clients: int
    studies_per_second: float
    whole: Summary


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="requests of each kind")
    repeats: int = parser.parse_args().repeats
    logs.configure(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="discgrade-bench-") as folder, EmbeddedTriton() as triton:
        scratch = Path(folder)
        files = write_dicom(make_phantom(PhantomSpec()), scratch / "study")
        archive = write_zip(files, scratch / "study.zip")
        (scratch / "server").mkdir()
        bare = _bare_networks(files, scratch)
        statistics = InferenceServerClient(triton.url)
        with serving(scratch / "server", "--triton-url", triton.url) as server, server.client() as client:
            engines = {model.name: model.engine for model in client.models()}
            sequential = {
                name: _one_by_one(client, study, statistics, bare, repeats)
                for name, study in (("15 DICOM files", files), ("one zip", [archive]))
            }
            concurrent = _side_by_side(client, archive, repeats)
    machine = _machine(engines["disc_segmentation"])
    text = _report(machine, sequential, concurrent, repeats)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "grade_latency.md").write_text(text)
    figures = {
        "machine": machine,
        "repeats": repeats,
        "sequential": {
            name: {**asdict(run), "share_in_triton": run.share_in_triton, "share_bare": run.share_bare}
            for name, run in sequential.items()
        },
        "concurrent": asdict(concurrent),
    }
    (RESULTS / "grade_latency.json").write_text(json.dumps(figures, indent=2) + "\n")


def _bare_networks(files: list[Path], scratch: Path) -> Callable[[], float]:
    """Load both networks here, with the study's own tensors; the returned function runs them and gives milliseconds."""
    (scratch / "unpacked").mkdir()
    grid = to_grid(read_study(files, scratch / "unpacked").volume)
    segmenter, grader = (_network(name) for name in NETWORKS)
    image = {"IMAGE": np.ascontiguousarray(grid.pixels[:, None])}
    tissue = segmenter.run(image)
    discs = find_and_crop(
        grid.pixels, grid.field_of_view, grid.slice_spacing_mm, tissue["LABELS"], tissue["DISC_PROBABILITY"]
    )
    crops = {"CROPS": discs.crops, "FEATURES": discs.features}

    def run() -> float:
        started = time.perf_counter()
        segmenter.run(image)
        grader.run(crops)
        return (time.perf_counter() - started) * 1000

    for _ in range(WARM_UP):
        run()
    return run


def _network(name: str) -> Engine:
    return load_engine(model_repository.path() / name / "1" / "model.onnx")


def _one_by_one(
    client: Client, study: list[Path], triton: InferenceServerClient, bare: Callable[[], float], repeats: int
) -> Sequential:
    for _ in range(WARM_UP):
        client.grade(study)
    whole, http, alone = [], [], []
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    models: dict[str, list[float]] = {}
    networks = []
    for _ in range(repeats):
        before = _triton_ms(triton)
        started = time.perf_counter()
        timings = client.grade(study).timings_ms
        whole.append((time.perf_counter() - started) * 1000)
        http.append(whole[-1] - timings["total"])
        for stage in STAGES:
            stages[stage].append(timings[stage])
        spent = {name: ms - before[name] for name, ms in _triton_ms(triton).items()}
        for name, ms in spent.items():
            models.setdefault(name, []).append(ms)
        networks.append(sum(spent[name] for name in NETWORKS))
        alone.append(bare())
    return Sequential(
        whole=_summary(whole),
        client_and_http=_summary(http),
        stages={stage: _summary(values) for stage, values in stages.items()},
        triton={name: _summary(values) for name, values in models.items()},
        networks_in_triton=_summary(networks),
        networks_bare=_summary(alone),
    )


def _triton_ms(triton: InferenceServerClient) -> dict[str, float]:
    """Milliseconds each model computed so far (compute_infer); the ensemble has none of its own, so its whole time."""
    answer = triton.get_inference_statistics()
    return {
        model.name: (model.inference_stats.compute_infer.ns or model.inference_stats.success.ns) / 1e6
        for model in answer.model_stats
    }


def _side_by_side(client: Client, archive: Path, repeats: int) -> Concurrent:
    def grade(_: int) -> float:
        started = time.perf_counter()
        client.grade([archive])
        return (time.perf_counter() - started) * 1000

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(grade, range(CONCURRENCY)))
        started = time.perf_counter()
        whole = list(pool.map(grade, range(max(repeats, CONCURRENCY))))
        seconds = time.perf_counter() - started
    return Concurrent(CONCURRENCY, len(whole) / seconds, _summary(whole))


def _summary(values: list[float]) -> Summary:
    p50, p95 = np.percentile(values, (50, 95))
    return Summary(round(float(p50), 1), round(float(p95), 1))


def _machine(engine: str) -> dict[str, str | int]:
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {
        "cores": available_cores(),
        "cpu": cpu,
        "python": platform.python_version(),
        "engine": f"{engine} {importlib.metadata.version(engine)}",
        "discgrade": discgrade.__version__,
    }


def _report(
    machine: dict[str, str | int], sequential: dict[str, Sequential], concurrent: Concurrent, repeats: int
) -> str:
    names = list(sequential)
    runs = list(sequential.values())

    def row(label: str, values: list[Summary]) -> str:
        return f"| {label} | " + " | ".join(f"{value.p50:.0f} / {value.p95:.0f}" for value in values) + " |"

    shares = [f"{run.share_in_triton:.0%}" for run in runs], [f"{run.share_bare:.0%}" for run in runs]
    ratios = [f"{1 / run.share_bare:.2f}" for run in runs]
    lines = [
        "# Latency of `POST /v1/grade`",
        "",
        f"A phantom study of 15 slices of 448², {repeats} requests one after the other; milliseconds, p50 / p95.",
        ", ".join(f"{key}: {value}" for key, value in machine.items()) + ".",
        "",
        f"| | {' | '.join(names)} |",
        "| --- |" + " --- |" * len(names),
        row("**whole request, seen by the client**", [run.whole for run in runs]),
        *(row(f"stage {stage}", [run.stages[stage] for run in runs]) for stage in STAGES),
        row("client, HTTP and keeping the result", [run.client_and_http for run in runs]),
        *(row(f"Triton: `{name}`", [run.triton[name] for run in runs]) for name in runs[0].triton),
        row("both networks' compute in Triton", [run.networks_in_triton for run in runs]),
        row("both networks run bare in one process", [run.networks_bare for run in runs]),
        f"| **share of p50 that is network compute, in Triton** | {' | '.join(shares[0])} |",
        f"| **the same, networks run bare** | {' | '.join(shares[1])} |",
        f"| whole request / bare networks | {' | '.join(ratios)} |",
        "",
        f"{concurrent.clients} clients at once, one zip each: {concurrent.studies_per_second:.2f} studies a second, "
        f"{concurrent.whole.p50:.0f} / {concurrent.whole.p95:.0f} ms a request.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
