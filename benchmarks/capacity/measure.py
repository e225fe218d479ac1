"""What a study costs on a real ``discgrade serve``: time, processor time by process, memory, bytes; and under load."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.admission import taking_all
from benchmarks.capacity.arrivals import poisson
from benchmarks.race.results import machine
from discgrade._process import serving
from discgrade.client import Client
from gateway.metrics import STAGES
from preprocess.grid import to_grid
from training.phantom import PhantomSpec, make_phantom, write_dicom, write_zip

__all__ = ["KINDS", "MIX", "STANDARD", "measure"]

FIELD_MM = 280.0
KINDS: dict[str, tuple[int, int]] = {
    "1 x 448": (1, 448),
    "5 x 448": (5, 448),
    "15 x 448": (15, 448),
    "30 x 448": (30, 448),
    "60 x 448": (60, 448),
    "15 x 320": (15, 320),
    "15 x 640": (15, 640),
}
"""Slices, and rows and columns, of the studies measured; all show 280 mm."""
STANDARD = "15 x 448"
MIX = {STANDARD: 0.85, "30 x 448": 0.10, "60 x 448": 0.05}
"""Share of each in what arrives, an assumption: 2-D series, thin ones, and 3-D series."""
_MIB = 2**20
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class _Server:
    """A running server, and the processes that it is made of."""

    client: Client
    processes: dict[str, list[psutil.Process]]

    @property
    def everyone(self) -> Iterator[tuple[str, psutil.Process]]:
        return ((role, process) for role, group in self.processes.items() for process in group)

    def cpu(self) -> dict[str, float]:
        """Seconds of a core that each role has used so far."""
        used = dict.fromkeys(self.processes, 0.0)
        for role, process in self.everyone:
            times = process.cpu_times()
            used[role] += times.user + times.system
        return used

    def memory(self) -> dict[str, float]:
        """MiB of each role, pages that processes share counted once (PSS)."""
        held = dict.fromkeys(self.processes, 0.0)
        for role, process in self.everyone:
            held[role] += process.memory_full_info().pss / _MIB
        return held


def measure(repeats: int, open_seconds: float) -> dict[str, Any]:
    """Measure on this machine, alone on it.

    Args:
        repeats: Studies of each kind; four times as many of the standard one.
        open_seconds: Length of each run at a fixed rate.
    """
    with tempfile.TemporaryDirectory(prefix="discgrade-capacity-") as name:
        folder = Path(name)
        studies = {kind: _study(folder, kind) for kind in KINDS}
        (folder / "server").mkdir()
        with _running(folder / "server") as server:
            before = server.memory()
            kinds = {
                kind: _alone(server, path, repeats * (4 if kind == STANDARD else 1)) for kind, path in studies.items()
            }
            clients = {count: _closed(server, studies[STANDARD], count, 4 * repeats) for count in (1, 2, 4, 8)}
            rate = clients[8]["studies_per_second"] / _mean_cost(kinds)
            loads = {load: _open(server, studies, load * rate, open_seconds) for load in (0.4, 0.7)}
            after = server.memory()
            kept = sum(path.stat().st_size for path in (folder / "server" / "data" / "results").rglob("*"))
            graded = sum(1 for _ in (folder / "server" / "data" / "results").iterdir())
        return {
            "machine": _machine(),
            "kinds": {
                kind: {
                    "slices": KINDS[kind][0],
                    "matrix": KINDS[kind][1],
                    "uploaded_bytes": studies[kind].stat().st_size,
                    "grid_voxels": _grid_voxels(kind),
                    **kinds[kind],
                }
                for kind in KINDS
            },
            "closed": {str(count): run for count, run in clients.items()},
            "open": {f"{load:.0%}": run for load, run in loads.items()},
            "memory_mib": {"idle": before, "after": after},
            "kept_bytes_a_study": kept / graded,
        }


@contextmanager
def _running(scratch: Path) -> Iterator[_Server]:
    with taking_all(), serving(scratch, "--no-worker") as process, process.client() as client:
        tree: dict[str, list[psutil.Process]] = {"gateway": [psutil.Process(process.pid)], "tritonserver": []}
        for child in tree["gateway"][0].children(recursive=True):
            command = " ".join(child.cmdline())
            models = [model for model in ("disc_segmentation", "disc_crop", "disc_grading") if f"/{model}/" in command]
            tree.setdefault(models[0] if models else "tritonserver", []).append(child)
        yield _Server(client, tree)


def _spec(kind: str) -> PhantomSpec:
    slices, matrix = KINDS[kind]
    return PhantomSpec(
        slices=slices, matrix=(matrix, matrix), pixel_mm=FIELD_MM / matrix, slice_spacing_mm=min(4.0, 60.0 / slices)
    )


def _study(folder: Path, kind: str) -> Path:
    files = write_dicom(make_phantom(_spec(kind)), folder / kind.replace(" ", ""))
    return write_zip(files, folder / f"{kind.replace(' ', '')}.zip")


def _grid_voxels(kind: str) -> int:
    """Voxels that the networks see."""
    return int(to_grid(make_phantom(_spec(kind)).volume).pixels.size)


def _alone(server: _Server, study: Path, repeats: int) -> dict[str, Any]:
    """One study after the other."""
    server.client.grade([study])
    seconds: list[float] = []
    cpu: dict[str, list[float]] = {role: [] for role in server.processes}
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for _ in range(repeats):
        used, started = server.cpu(), time.perf_counter()
        timings = server.client.grade([study]).timings_ms
        seconds.append(time.perf_counter() - started)
        for role, total in server.cpu().items():
            cpu[role].append(total - used[role])
        for stage in STAGES:
            stages[stage].append(timings[stage] / 1000)
    return {
        "seconds": seconds,
        "cpu_seconds": [sum(each) for each in zip(*cpu.values(), strict=True)],
        "cpu_by_role": {role: float(np.mean(values)) for role, values in cpu.items()},
        "stages": {stage: float(np.median(values)) for stage, values in stages.items()},
    }


def _closed(server: _Server, study: Path, clients: int, studies: int) -> dict[str, Any]:
    """Clients that send the next study when they have an answer."""
    seconds: list[float] = []

    def grade(_: int) -> None:
        started = time.perf_counter()
        server.client.grade([study])
        seconds.append(time.perf_counter() - started)

    used, started = sum(server.cpu().values()), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(grade, range(studies)))
    whole = time.perf_counter() - started
    return {
        "studies_per_second": studies / whole,
        "cpu_seconds_a_study": (sum(server.cpu().values()) - used) / studies,
        "seconds": seconds,
    }


def _open(server: _Server, studies: dict[str, Path], rate: float, seconds: float) -> dict[str, Any]:
    """Studies that arrive at random, whatever becomes of those before."""
    chance = np.random.default_rng(7)
    arrivals = poisson(rate, seconds, chance).tolist()
    kinds = chance.choice(list(MIX), len(arrivals), p=list(MIX.values())).tolist()
    answered: list[tuple[int, float]] = []

    def grade(place: int, due: float) -> None:
        server.client.grade([studies[kinds[place]]])
        answered.append((place, time.perf_counter() - due))

    with ThreadPoolExecutor(64) as pool:
        began = time.perf_counter()
        sent = []
        for place, arrival in enumerate(arrivals):
            time.sleep(max(began + arrival - time.perf_counter(), 0.0))
            sent.append(pool.submit(grade, place, began + arrival))
        for each in sent:
            each.result(_PATIENCE_SECONDS)
    return {
        "rate": rate,
        "arrivals": arrivals,
        "kinds": kinds,
        "seconds": [took for _, took in sorted(answered)],
    }


def _mean_cost(kinds: dict[str, dict[str, Any]]) -> float:
    """Processor time of the mean study of the mix, in standard studies."""
    standard = float(np.mean(kinds[STANDARD]["cpu_seconds"]))
    return sum(share * float(np.mean(kinds[kind]["cpu_seconds"])) for kind, share in MIX.items()) / standard


def _machine() -> dict[str, Any]:
    here = machine("")
    return {
        "cores": here["cores"],
        "cpu": here["processor"],
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": here["python"],
        "discgrade": here["discgrade"],
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
