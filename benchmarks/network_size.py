"""How good a segmenter is against how long it takes, by grid, width and depth: ``make bench-size``.

Every form is trained alike, on masks alone, and judged on the same held-out patients: short trainings, so that what
counts is how the forms compare. Time is that of one study of 15 slices, all forms asked in turn. Writes
``benchmarks/results/network_size.json``, ``.md`` and ``.png``. Trainings are kept, and go on where they were
interrupted; ``--train NAME`` does one of them alone, so that several may run side by side.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from benchmarks.race.results import machine
from benchmarks.segmenting import segment
from benchmarks.tables import table
from engines import CPUPrecision, available_cores, int8_beside, load_engine
from export.models import SEGMENTATION
from export.onnx_file import export_onnx
from export.precision import for_cpu
from export.samples import calibration_grids
from preprocess.grid import to_grid
from training.config import SegmentationConfig, Stage
from training.data import DataSet, default_root, folds, open_data
from training.evaluation.bootstrap import Bootstrap
from training.evaluation.bootstrap import Figure as Measured
from training.evaluation.plots import save
from training.metrics import dice
from training.phantom import PhantomSpec, make_phantom
from training.segmentation import (
    discs_on_source,
    evaluate_dice,
    find_discs,
    load_slices,
    segmenter,
    train_segmentation,
)
from training.segmentation.segment import read_segmenter

RESULTS = Path(__file__).parent / "results"
STEPS = 400
WINDOW = (384, 256)
_SEEDS = (1, 2, 3, 4)  # the next one where a form learned no disc in so few steps (docs/training.md)
_NO_DISC = 0.1  # Dice on slices that were learned from
THIRDS = 3  # of the patients one is held out: more to judge by than a fifth


@dataclass(frozen=True)
class Form:
    """A form of the segmenter.

    Attributes:
        name: Of its folder.
        widths: Channels of each level, from fine to coarse.
        folded: Side of what is folded into one pixel of the network.
    """

    name: str
    widths: tuple[int, ...]
    folded: Literal[1, 2, 4] = 2

    @property
    def grid_mm(self) -> float:
        """Pixels of the finest level, in mm."""
        return 0.5 * self.folded


BASE = Form("base", (16, 32, 64, 96, 128))
FORMS = (
    Form("narrow", (8, 16, 32, 48, 64)),
    BASE,
    Form("wide", (24, 48, 96, 128, 160)),
    Form("widest", (32, 64, 96, 128, 160)),
    Form("shallow", (16, 32, 64, 96)),
    Form("coarse", (32, 64, 96, 128), folded=4),
    Form("fine", (8, 16, 32, 64, 96, 128), folded=1),
)


def main() -> None:
    """Train what is not trained yet, judge, time, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/network_size"), help="where trainings are kept")
    parser.add_argument("--train", choices=[form.name for form in FORMS], help="train this one alone, and no more")
    parser.add_argument("--rounds", type=int, default=8, help="studies that each form is timed with")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    data = open_data(default_root())
    held_out = folds(data, THIRDS)[0]
    wanted = [form for form in FORMS if options.train in (None, form.name)]
    checkpoints = {form.name: _train(data, held_out, options.runs, form) for form in wanted}
    if options.train is None:
        judged = {name: _judge(data, held_out, path) for name, path in checkpoints.items()}
        found = {
            "machine": machine("each in turn"),
            "steps": STEPS,
            "forms": {form.name: {"widths": form.widths, "grid_mm": form.grid_mm} for form in FORMS},
            "seeds": {name: int(path.parents[1].name.rpartition("-")[2]) for name, path in checkpoints.items()},
            "parameters": {name: _parameters(path) for name, path in checkpoints.items()},
            "judged": judged,
            "milliseconds": _times(checkpoints, options.rounds),
        }
        (options.out / "network_size.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "network_size.md").write_text(report(found))
        save(picture(found), options.out / "network_size.png")
        print(report(found))


def _train(data: DataSet, held_out: set[str], runs: Path, form: Form) -> Path:
    """The checkpoint of a form, on masks of those that are not held out.

    Raises:
        RuntimeError: It learns no disc with any seed.
    """
    learned_from = next(series for series in data.masked if series.patient not in held_out)
    for seed in _SEEDS:
        stage = Stage(steps=STEPS, learning_rate=3e-3, window=WINDOW, seed=seed)
        settings = SegmentationConfig(widths=form.widths, folded=form.folded, stages=(stage,))
        run = runs / f"{form.name}-{seed}"
        checkpoint = train_segmentation(data, set(data.patients) - held_out, set(), run, settings)
        if evaluate_dice(read_segmenter(checkpoint).network, load_slices(learned_from, 3)) > _NO_DISC:
            return checkpoint
    raise RuntimeError(f"The form {form.name} learned no disc with any of the seeds {_SEEDS}.")


def _parameters(checkpoint: Path) -> int:
    return sum(value.numel() for value in read_segmenter(checkpoint).parameters())


def _judge(data: DataSet, held_out: set[str], checkpoint: Path) -> dict[str, Any]:
    """Dice by patient, of discs as served; and in how many series of ordinary T2 as many discs as were graded."""
    segment = segmenter(checkpoint)
    overlap, counted = {}, {}
    for series in track(
        [one for one in data.series if one.patient in held_out and (one.masked or one.sequence == "t2")],
        checkpoint.parents[1].name,
        console=Console(stderr=True),
        transient=True,
    ):
        grid = to_grid(series.volume())
        labels, probability = segment(grid.pixels)
        found = find_discs(grid, labels, probability)
        if series.masked:
            overlap[series.patient] = dice(discs_on_source(grid, found, probability) > 0, series.labels() == 1)
        elif series.patient in data.gradings:
            counted[series.patient] = found is not None and len(found.levels) == len(data.gradings[series.patient])
    return {"dice": overlap, "counted": counted}


def _times(checkpoints: Mapping[str, Path], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each round of a study by form, by engine; the first round is left out."""
    image = np.ascontiguousarray(to_grid(make_phantom(PhantomSpec()).volume).pixels[:, None])

    runs: dict[str, dict[str, Callable[[], object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        seen = [{"IMAGE": grid.pixels[:, None]} for grid in calibration_grids(default_root())]
        for name, checkpoint in checkpoints.items():
            path = Path(folder) / f"{name}.onnx"
            graph = export_onnx(read_segmenter(checkpoint), SEGMENTATION)
            onnx.save(graph, path)
            onnx.save(for_cpu(graph, SEGMENTATION, seen), int8_beside(path))
            bare = load_engine(path, available_cores(), ("onnxruntime",), CPUPrecision.FP32)
            served = load_engine(path, available_cores(), precision=CPUPrecision.INT8)
            runs[name] = {
                "ONNX Runtime, FP32": partial(segment, bare, image),
                "as served": partial(segment, served, image),
            }
    spent: dict[str, dict[str, list[float]]] = {name: {engine: [] for engine in one} for name, one in runs.items()}
    for _ in range(rounds + 1):
        for name, one in runs.items():
            for engine, run in one.items():
                began = time.perf_counter()
                run()
                spent[name][engine].append(1000 * (time.perf_counter() - began))
    return {name: {engine: times[1:] for engine, times in one.items()} for name, one in spent.items()}


def gain(judged: Mapping[str, Any], name: str) -> Measured:
    """How much more Dice a form has than the base, with its 95 % interval by patient."""
    patients = sorted(judged[BASE.name]["dice"])
    gains = np.array([judged[name]["dice"][one] - judged[BASE.name]["dice"][one] for one in patients])
    return Bootstrap(patients).mean(gains)


def report(found: Mapping[str, Any]) -> str:
    """The page."""
    judged, times = found["judged"], found["milliseconds"]
    rows = []
    for name, form in found["forms"].items():
        counted = list(judged[name]["counted"].values())
        rows.append(
            [
                name,
                f"{form['grid_mm']:g} mm",
                "-".join(map(str, form["widths"])),
                str(found["seeds"][name]),
                f"{found['parameters'][name] / 1e6:.2f} M",
                f"{statistics.mean(judged[name]['dice'].values()):.3f}",
                "" if name == BASE.name else str(gain(judged, name)),
                f"{sum(counted)} of {len(counted)}",
                *(f"{statistics.median(values):.0f}" for values in times[name].values()),
            ]
        )
    heads = [
        "form",
        "grid",
        "channels by level",
        "seed",
        "parameters",
        "Dice",
        f"more than {BASE.name}, 95 %",
        "right counts",
    ]
    heads += [f"ms, {engine}" for engine in times[BASE.name]]
    about = "; ".join(f"{key}: {value}" for key, value in found["machine"].items() if key != "engine served")
    lines = [
        "# Size of the segmenter",
        f"Made by `make bench-size`. {about}.",
        f"Each form was trained for {found['steps']} steps on the masks of the same patients, and judged on "
        f"{len(judged[BASE.name]['dice'])} others with masks (mean Dice of discs as served) and on the ordinary T2 of "
        f"{len(judged[BASE.name]['counted'])} (series with the graded number of discs). Times are medians, for 15 "
        "slices.",
        table(heads, rows),
        "![Dice over time](network_size.png)",
    ]
    return "\n\n".join(lines) + "\n"


def picture(found: Mapping[str, Any]) -> Figure:
    """Dice over the time of a study, a curve an engine."""
    canvas = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes = canvas.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    engines = list(found["milliseconds"][BASE.name])
    for engine, marker, colour in zip(engines, "os", ("#0072B2", "#D55E00"), strict=True):
        points = _points(found, engine)
        axes.scatter([x for _, x, _ in points], [y for _, _, y in points], marker=marker, color=colour, label=engine)
        for name, x, y in points:
            axes.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8, color=colour)
    axes.set_xscale("log")
    axes.set(xlabel="ms for 15 slices", ylabel="Dice on held-out patients", title=f"{found['steps']} steps each")
    axes.legend(frameon=False, loc="center right")
    return canvas


def _points(found: Mapping[str, Any], engine: str) -> Sequence[tuple[str, float, float]]:
    return [
        (
            name,
            statistics.median(times[engine]),
            statistics.mean(found["judged"][name]["dice"].values()),
        )
        for name, times in found["milliseconds"].items()
    ]


if __name__ == "__main__":
    main()
