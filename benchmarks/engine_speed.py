"""How fast each engine computes the networks on this host's GPU: ``make bench-gpu``.

Eager torch, torch.compile, ONNX Runtime's CUDA provider (where onnxruntime-gpu is installed) and TensorRT in every
precision, all with the copies from and to the host. Latency is the median of a study's batch, throughput that of the
largest preferred batch. The report names the device; without a GPU nothing is measured or written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from export.checkpoints import load_trained
from export.engine_key import find_gpu
from export.errors import ExportError, MissingTool
from export.exporter import graphs_in
from export.models import NETWORKS, Network, Precision
from export.onnx_file import example_inputs, export_onnx
from export.precision import Feed
from export.runners import plan_runner, torch_runner
from export.samples import Runner
from export.tensorrt_api import load_api
from export.tensorrt_builder import build_plan
from training.data import default_root

SECONDS = 3.0
WARM_UP = 10


def _runners(run: Path, data: Path, stack: ExitStack) -> Iterator[tuple[str, dict[str, Runner]]]:
    """Every engine that can be had here, by name."""
    trained = load_trained(run)
    names = list(NETWORKS)
    yield "torch, eager, FP32", {n: torch_runner(trained.networks[n], NETWORKS[n], "cuda") for n in names}
    compiled: dict[str, Any] = {n: torch.compile(trained.networks[n].cuda(), dynamic=True) for n in names}
    yield "torch.compile, FP32", {n: torch_runner(compiled[n], NETWORKS[n], "cuda") for n in names}
    fp32 = {n: export_onnx(trained.networks[n].cpu(), NETWORKS[n]) for n in names}
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        yield "ONNX Runtime, CUDA, FP32", {n: _cuda(model.SerializeToString()) for n, model in fp32.items()}
    try:
        trt = load_api(rtx=False)
    except MissingTool as error:
        print(f"TensorRT is left out: {error.detail}")
        return
    for precision in Precision:
        graphs = graphs_in(fp32, precision, data)
        plans = {n: build_plan(trt, graphs[n].SerializeToString(), NETWORKS[n]).engine for n in names}
        yield (
            f"TensorRT {trt.__version__}, {precision.upper()}",
            {n: stack.enter_context(plan_runner(plans[n], NETWORKS[n])) for n in names},
        )


def _cuda(model: bytes) -> Runner:
    session = onnxruntime.InferenceSession(model, providers=["CUDAExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))


def _median_ms(runner: Runner, feed: Feed) -> float:
    for _ in range(WARM_UP):
        runner(feed)
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        runner(feed)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def _feed(network: Network, batch: int) -> Feed:
    return {t.name: v.numpy() for t, v in zip(network.inputs, example_inputs(network, batch), strict=True)}


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("training/weights"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    try:
        gpu = find_gpu()
    except ExportError as error:
        sys.exit(f"{error.title}: nothing was measured. {error.detail}")
    rows: list[list[Any]] = []
    with ExitStack() as stack:
        for engine, runners in _runners(options.run, default_root(), stack):
            for name, runner in runners.items():
                network = NETWORKS[name]
                study, largest = network.profiles[0][1], network.preferred_batches[-1]
                latency = _median_ms(runner, _feed(network, study))
                throughput = largest / _median_ms(runner, _feed(network, largest)) * 1000
                rows.append([engine, name, study, round(latency, 3), largest, round(throughput)])
                print(*rows[-1], sep=" | ")
    heads = ["engine", "network", "rows of a study", "latency, ms", "rows of a batch", "rows a second"]
    (options.out / "engine_speed.json").write_text(
        json.dumps({"gpu": vars(gpu), "rows": [dict(zip(heads, row, strict=True)) for row in rows]}, indent=2) + "\n"
    )
    table: list[list[Any]] = [heads, ["---"] * len(heads), *rows]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in table]
    (options.out / "engine_speed.md").write_text(
        "\n".join([f"# Engines on {gpu.name}", "", f"Driver {gpu.driver}.", "", *lines, ""])
    )


if __name__ == "__main__":
    main()
