"""``make capacity``: measures this machine, simulates the rest, writes docs/capacity.md and its pictures."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path

from benchmarks.capacity.arrivals import DAY
from benchmarks.capacity.measure import measure
from benchmarks.capacity.plan import CPU, GPU, Wish
from benchmarks.capacity.report import write
from gateway import logs

FIGURES = Path(__file__).parents[1] / "results" / "capacity.json"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--measured", type=Path, help="plan from figures that were measured before")
parser.add_argument(
    "--repeats", type=int, default=8, help="studies of each kind; four times as many of the standard one"
)
parser.add_argument("--open-seconds", type=float, default=60.0, help="length of each run at a fixed rate")
parser.add_argument(
    "--cpu-hour", type=float, default=CPU.an_hour, help="price of an hour of the machine that was measured"
)
parser.add_argument("--gpu-hour", type=float, default=GPU.an_hour, help="price of an hour of a machine with a GPU")
parser.add_argument(
    "--gpu-speed", type=float, default=GPU.speed, help="how many times as fast that does a study; not measured"
)
parser.add_argument("--wait", type=float, default=5.0, help="longest wait in s that is wished for")
parser.add_argument("--share", type=float, default=0.95, help="of the studies that are to wait no longer")
chosen = parser.parse_args()

logs.configure(logging.CRITICAL)
if chosen.measured is None:
    FIGURES.write_text(json.dumps(measure(chosen.repeats, chosen.open_seconds), indent=1) + "\n")
figures = json.loads((chosen.measured or FIGURES).read_text())
write(
    figures,
    replace(CPU, an_hour=chosen.cpu_hour),
    replace(GPU, an_hour=chosen.gpu_hour, speed=chosen.gpu_speed),
    Wish(chosen.share, chosen.wait, DAY),
)
