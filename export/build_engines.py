"""Builds the TensorRT engines of a repository on this host: ``python3 -m export.build_engines REPOSITORY``.

For a GPU host (``make engines``) or a Kubernetes Job, in Triton's image. The releases that are loaded, and those that
are newer and may be promoted next, get engines for the GPU and the TensorRT found here, beside those for other hosts;
engines that fit already are left alone. The reference is the version's own ``model.onnx`` in FP32, computed by ONNX
Runtime: no checkpoint and no torch are needed.

Not run where this was written, for want of a GPU; its parts are tested with a recorded fake of the builder.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import onnx

from export.configs import write_configs
from export.engine_key import GPU, check_server, engine_key, find_gpu, plan_name, record_name, why_stale
from export.errors import ExportError, VersionMismatch
from export.models import NETWORKS, PIPELINE, Network, Precision
from export.onnx_check import read_onnx
from export.parity import measure, require_parity
from export.precision import in_precision
from export.records import as_bytes, plan_record
from export.repository import QUANTISED, Repository
from export.runners import onnx_runner, plan_runner
from export.samples import Runner, Samples, held_out
from export.tensorrt_api import TensorRT, load_api
from export.tensorrt_builder import Plan, build_with_cache
from training.data import default_root

__all__ = ["Host", "build_engines", "main"]


class Host:
    """The GPU and TensorRT that engines are built and run with.

    Args:
        gpu: The GPU.
        trt: TensorRT's Python API.
        run: Opens an engine as a runner.
    """

    def __init__(
        self,
        gpu: GPU,
        trt: TensorRT,
        run: Callable[[bytes, Network], AbstractContextManager[Runner]] = plan_runner,
    ) -> None:
        self.gpu = gpu
        self.trt = trt
        self.run = run
        self.key = engine_key(gpu, trt.__version__)


def build_engines(
    repository: Repository, precision: Precision, samples: Samples, host: Host, say: Callable[[str], None] = print
) -> list[Path]:
    """Build what is missing or stale, compare it, and keep it beside its network.

    Args:
        repository: Where the networks are.
        precision: What engines compute in; INT8 only where the release was exported in INT8.
        samples: To compare on.
        host: What builds and runs them.
        say: Told what is being done.

    Returns:
        The new engine files.

    Raises:
        ExportError: A network cannot be built, or its engine differs too much; nothing of its release was changed.
    """
    service = repository.service
    written: list[Path] = []
    for release in repository.releases():
        versions = {name: release.members[name] for name in NETWORKS}
        loaded = all(number in service.loaded[name] for name, number in versions.items())
        if not loaded and release.number < service.release:
            continue
        folders = {name: repository.root / name / str(number) for name, number in versions.items()}
        if all(why_stale(folder, host.key) is None for folder in folders.values()):
            say(f"release {release.number}: engines for {host.key} are there")
            continue
        written += _build_release(repository, folders, precision, samples, host, say)
    write_configs(repository.root, service, host.key)
    return written


def _build_release(
    repository: Repository,
    folders: dict[str, Path],
    precision: Precision,
    samples: Samples,
    host: Host,
    say: Callable[[str], None],
) -> list[Path]:
    fp32 = {name: read_onnx(folder / "model.onnx", NETWORKS[name]) for name, folder in folders.items()}
    plans: dict[str, Plan] = {}
    with ExitStack() as runners:
        candidate: dict[str, Runner] = {}
        for name, folder in folders.items():
            say(f"{name} version {folder.name}: TensorRT builds {precision} for {host.key}")
            graph = _graph(fp32[name], folder, NETWORKS[name], precision)
            plans[name] = build_with_cache(host.trt, graph, NETWORKS[name], repository.root / PIPELINE, host.key)
            candidate[name] = runners.enter_context(host.run(plans[name].engine, NETWORKS[name]))
        reference = {name: onnx_runner(model) for name, model in fp32.items()}
        parity = measure("TensorRT", precision, reference, candidate, samples)
    require_parity(parity)
    written = []
    for name, folder in folders.items():
        record = plan_record((folder / "model.onnx").read_bytes(), plans[name], precision, host.gpu, parity)
        _replace(folder / plan_name(host.key), plans[name].engine)
        _replace(folder / record_name(host.key), as_bytes(record))
        written.append(folder / plan_name(host.key))
    return written


def _graph(fp32: onnx.ModelProto, folder: Path, network: Network, precision: Precision) -> onnx.ModelProto:
    if precision is not Precision.INT8:
        return in_precision(fp32, network, precision, ())
    if not (folder / QUANTISED).is_file():
        advice = "Export the release with --precision int8, or build the engines in fp16."
        raise VersionMismatch(f"{network.name} version {folder.name} was not exported in INT8.", advice)
    return read_onnx(folder / QUANTISED, network)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the engines of a repository for this host; exits with 1 and a clear message where that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.FP16)
    parser.add_argument("--data", type=Path, default=default_root(), help="spider2d; phantoms where it is not there")
    options = parser.parse_args(arguments)
    try:
        repository = Repository(options.repository)
        host = Host(find_gpu(), load_api(rtx=False))
        check_server(host.trt.__version__)
        for path in build_engines(repository, options.precision, held_out(options.data), host):
            print(f"wrote {path}")
    except ExportError as error:
        sys.exit(f"{error.title}. {error.detail}\nWhat to do: {error.advice}")


if __name__ == "__main__":
    main()
