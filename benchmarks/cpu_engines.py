"""How fast and how good the CPU engines compute the trained networks, in each precision: ``make bench-cpu``.

Speed is that of one study of 15 slices and its discs, every combination asked in turn, so that what slows one slows
all. How good a precision is, is measured as its gate does (:mod:`export.accuracy`): on held-out patients, against masks
and gradings. Writes ``benchmarks/results/cpu_engines.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from benchmarks.race.results import machine
from benchmarks.segmenting import segment
from benchmarks.tables import table
from engines import Engine, available_cores
from engines.onnxruntime_engine import ONNXRuntimeEngine
from engines.openvino_engine import OpenVINOEngine
from export.accuracy import Accuracy, answers_of, compare
from export.checkpoints import load_trained
from export.models import GRADING, NETWORKS, SEGMENTATION
from export.onnx_file import export_onnx
from export.precision import Feed, for_cpu
from export.runners import onnx_runner
from export.samples import Runner, calibration, calibration_grids, discs_feed, find_discs
from preprocess.grid import to_grid
from training.data import default_root
from training.phantom import PhantomSpec, make_phantom

RUN = Path(__file__).parents[1] / "training" / "weights"
RESULTS = Path(__file__).parent / "results"


class Bf16(OpenVINOEngine):
    """OpenVINO in bfloat16, which it takes by itself where the processor has it."""

    precision_hint = "bf16"


ENGINES: Sequence[tuple[str, str | None, Callable[[Path, int], Engine]]] = (
    ("OpenVINO", None, OpenVINOEngine),
    ("OpenVINO", "bf16", Bf16),
    ("ONNX Runtime", None, ONNXRuntimeEngine),  # which has no bfloat16 on x86-64
)
"""What computes; the precision where it is not that of the file; how it is loaded."""


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="studies for each combination")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    data = default_root()
    with tempfile.TemporaryDirectory() as folder:
        files = _written(_graphs(data), Path(folder))
        speed = {name: _speed(runs, options.rounds) for name, runs in _combinations(files).items()}
        good = {name: accuracy.as_json() for name, accuracy in _accuracies(files, data)}
    found = {"machine": machine("each in turn"), "milliseconds": speed, "accuracy": good}
    (options.out / "cpu_engines.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "cpu_engines.md").write_text(_report(found))
    print(_report(found))


def _graphs(data: Path) -> dict[str, dict[str, onnx.ModelProto]]:
    """Each network as it was trained, as it is exported, and in INT8."""
    trained = load_trained(RUN).networks
    exported = {name: export_onnx(trained[name], network) for name, network in NETWORKS.items()}
    grids, segment = calibration_grids(data), onnx_runner(exported[SEGMENTATION.name])
    graphs = {
        name: {"FP32": graph, "INT8": for_cpu(graph, NETWORKS[name], calibration(name, grids, segment))}
        for name, graph in exported.items()
    }
    as_trained = export_onnx(
        nn.Sequential(trained[SEGMENTATION.name]), SEGMENTATION
    )  # which hides it from the rewriting
    return {**graphs, SEGMENTATION.name: {"FP32, as trained": as_trained, **graphs[SEGMENTATION.name]}}


def _written(graphs: Mapping[str, Mapping[str, onnx.ModelProto]], folder: Path) -> dict[tuple[str, str], Path]:
    """Files by network and precision."""
    files = {}
    for name, forms in graphs.items():
        for number, (form, graph) in enumerate(forms.items()):
            files[name, form] = folder / f"{name}.{number}.onnx"
            onnx.save(graph, files[name, form])
    return files


def _combinations(files: Mapping[tuple[str, str], Path]) -> dict[str, dict[str, Callable[[], object]]]:
    """What is timed, by network and by what computes it."""
    grid = to_grid(make_phantom(PhantomSpec()).volume)
    image = {"IMAGE": np.ascontiguousarray(grid.pixels[:, None])}
    found = find_discs(grid, _answer(OpenVINOEngine(files[SEGMENTATION.name, "FP32"], available_cores()), image))
    assert found is not None  # a phantom has discs
    feeds = {SEGMENTATION.name: image, GRADING.name: discs_feed(found)}
    runs: dict[str, dict[str, Callable[[], object]]] = {name: {} for name in feeds}
    for (name, form), path in files.items():
        for label, precision, load in ENGINES:
            for threads in sorted({1, available_cores()}) if precision is None or form == "FP32" else ():
                runs[name][f"{label} | {precision or form} | {threads}"] = partial(
                    _answer, load(path, threads), feeds[name]
                )
        if form == "FP32":
            runs[name]["ONNX Runtime, its defaults, one batch | FP32 | all"] = partial(
                onnx_runner(onnx.load(path)), feeds[name]
            )
    return runs


def _answer(engine: Engine, feed: Feed) -> dict[str, NDArray[Any]]:
    """Compute slices as they are served, a few at a time; discs at once."""
    return segment(engine, feed["IMAGE"]) if "IMAGE" in feed else engine.run(feed)


def _speed(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round, by what computes; the first is left out."""
    spent: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds + 1):
        for key, run in runs.items():
            began = time.perf_counter()
            run()
            spent[key].append(1000 * (time.perf_counter() - began))
    return {key: times[1:] for key, times in spent.items()}


def _accuracies(files: Mapping[tuple[str, str], Path], data: Path) -> Iterator[tuple[str, Accuracy]]:
    """Lower precisions against FP32."""

    def runner(network: str, form: str, load: Callable[[Path, int], Engine] = OpenVINOEngine) -> Runner:
        return partial(_answer, load(files[network, form], available_cores()))

    def both(segmenter: Runner, grader: Runner) -> dict[str, Runner]:
        return {SEGMENTATION.name: segmenter, GRADING.name: grader}

    grader = runner(GRADING.name, "FP32")
    reference = answers_of(data, both(runner(SEGMENTATION.name, "FP32"), grader))
    for name, networks in {
        "OpenVINO, segmenter INT8 (served)": both(runner(SEGMENTATION.name, "INT8"), grader),
        "OpenVINO, both INT8": both(runner(SEGMENTATION.name, "INT8"), runner(GRADING.name, "INT8")),
        "OpenVINO, both bf16": both(runner(SEGMENTATION.name, "FP32", Bf16), runner(GRADING.name, "FP32", Bf16)),
        "ONNX Runtime, segmenter INT8": both(runner(SEGMENTATION.name, "INT8", ONNXRuntimeEngine), grader),
    }.items():
        yield name, compare(data, reference, answers_of(data, networks))


def _report(found: Mapping[str, Any]) -> str:
    about = "; ".join(f"{key}: {value}" for key, value in found["machine"].items() if key != "engine served")
    parts = [
        "# CPU engines on the trained networks",
        f"Made by `make bench-cpu`. {about}.",
        "Of several rounds the least time and the median; where they are far apart, others had the cores meanwhile.",
    ]
    for name, speeds in found["milliseconds"].items():
        rows = (
            (*key.split(" | "), f"{min(times):.0f}", f"{statistics.median(times):.0f}") for key, times in speeds.items()
        )
        heads = ("engine", "precision", "threads", "ms, least", "ms, median")
        parts += [f"## `{name}`, one study", table(heads, rows)]
    first = next(iter(found["accuracy"].values()))
    parts += [
        f"## Beside FP32, on {first['patients']} held-out patients",
        f"FP32 itself: Dice {first['fp32']['dice']:.4f}, accuracy of the severity {first['fp32']['accuracy']:.4f}, "
        f"quadratic κ of Pfirrmann {first['fp32']['kappa']:.4f}, {first['fp32']['discs']} discs.",
        table(
            ("", "Dice", "accuracy", "κ", "severities changed", "Pfirrmann changed", "discs in only one", "gate"),
            (
                (
                    name,
                    *(f"{one['lower'][key]:.4f}" for key in ("dice", "accuracy", "kappa")),
                    *(f"{one[key]} of {one['both']}" for key in ("severity_flips", "pfirrmann_flips")),
                    str(one["only_one"]),
                    "; ".join(one["failures"]) or "passed",
                )
                for name, one in found["accuracy"].items()
            ),
        ),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
