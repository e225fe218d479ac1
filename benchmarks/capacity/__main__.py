"""``make capacity``: measures this machine, simulates the rest, writes docs/capacity.md and its pictures."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from benchmarks.capacity.arrivals import DAY
from benchmarks.capacity.measure import measure
from benchmarks.capacity.plan import Machine, Services, Wish
from benchmarks.capacity.report import write
from gateway import logs
from gateway.settings import Settings

AHEAD = Settings.model_fields["admission_ahead_seconds"].default
FIGURES = Path(__file__).parents[1] / "results" / "capacity.json"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--measured", type=Path, help="plan from figures that were measured before")
parser.add_argument(
    "--repeats", type=int, default=8, help="studies of each kind; four times as many of the standard one"
)
parser.add_argument("--open-seconds", type=float, default=60.0, help="length of each run at a fixed rate")
parser.add_argument("--cpu-hour", type=float, default=0.1, help="price of an hour of the machine that was measured")
parser.add_argument("--gpu-hour", type=float, default=0.8, help="price of an hour of a machine with a GPU")
parser.add_argument("--gpu-cores", type=int, default=4, help="cores beside the GPU, like the measured ones")
parser.add_argument("--gpu-slice-ms", type=float, default=2.0, help="of the networks on it, a slice; not measured")
parser.add_argument("--wait", type=float, default=AHEAD, help="longest wait in s that is wished for")
parser.add_argument("--share", type=float, default=0.95, help="of the studies that are to wait no longer")
chosen = parser.parse_args()

logs.configure(logging.CRITICAL)
if chosen.measured is None:
    FIGURES.write_text(json.dumps(measure(chosen.repeats, chosen.open_seconds), indent=1) + "\n")
figures = json.loads((chosen.measured or FIGURES).read_text())
write(
    figures,
    Machine(f"{figures['machine']['cores']} cores, as measured", chosen.cpu_hour, measured=True),
    Machine(
        f"{chosen.gpu_cores} cores and a GPU of {chosen.gpu_slice_ms:g} ms a slice", chosen.gpu_hour, measured=False
    ),
    Services.with_gpu(figures, chosen.gpu_cores, chosen.gpu_slice_ms / 1000),
    Wish(chosen.share, chosen.wait, DAY),
)
