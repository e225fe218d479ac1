"""Write trained networks as ONNX files that Triton serves: ``python -m export.onnx_export RUN``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from rich.console import Console
from torch import Tensor, nn

import model_repository
from training.grading import read_checkpoint
from training.networks import CROP_SHAPE, FEATURES, ExportedSegmenter, SpineUNet

__all__ = ["OPSET", "export_grader", "export_segmenter", "main", "parity"]

OPSET = 20

_LARGEST_PROBABILITY_DIFFERENCE = 1e-4


def _export(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    path: Path,
) -> None:
    program = torch.onnx.export(
        network.eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=tuple({axis: torch.export.Dim.DYNAMIC for axis in dynamic.get(name, {})} for name in inputs),
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter gave no program")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    program.save(str(partial), external_data=False)
    model = onnx.load(partial)
    _forget_origin(model)
    onnx.save(model, partial)
    onnx.checker.check_model(model, full_check=True)
    partial.replace(path)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop stack traces and source paths that the exporter notes on every node: they name a machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def export_segmenter(network: SpineUNet, path: Path) -> None:
    """Write the segmenter: IMAGE uint8 (N, 1, H, W) to LABELS and DISC_PROBABILITY uint8 (N, H, W), N, H, W free."""
    _export(
        ExportedSegmenter(network),
        {"IMAGE": torch.randint(0, 255, (2, 1, 256, 224), dtype=torch.uint8)},
        ["LABELS", "DISC_PROBABILITY"],
        {"IMAGE": {0: "slices", 2: "height", 3: "width"}},
        path,
    )


def export_grader(network: nn.Module, path: Path) -> None:
    """Write the grader: CROPS (D, 3, 2, 56, 96) and FEATURES (D, 16) to probabilities of both gradings, D free."""
    _export(
        network,
        {"CROPS": torch.rand(3, *CROP_SHAPE), "FEATURES": torch.randn(3, FEATURES)},
        ["SEVERITY_PROBABILITIES", "PFIRRMANN_PROBABILITIES"],
        {"CROPS": {0: "discs"}, "FEATURES": {0: "discs"}},
        path,
    )


def parity(network: nn.Module, path: Path, inputs: Mapping[str, Tensor]) -> float:
    """Largest absolute difference between a network and its ONNX file under ONNX Runtime, over all outputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answers = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    with torch.no_grad():
        expected = network.eval()(*inputs.values())
    return max(
        float(np.abs(a.astype(np.float64) - e.numpy().astype(np.float64)).max())
        for a, e in zip(answers, expected, strict=True)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Export the networks of a run into the model repository and check each against its checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, default=model_repository.path())
    options = parser.parse_args(arguments)
    console = Console()
    network = SpineUNet()
    network.load_state_dict(torch.load(options.run / "sharpening" / "checkpoint.pt", weights_only=True)["ema"])
    path = options.to / "disc_segmentation" / "1" / "model.onnx"
    export_segmenter(network, path)
    image = torch.randint(0, 255, (3, 1, 320, 288), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    difference = parity(ExportedSegmenter(network), path, {"IMAGE": image})
    console.print(f"{path.name} of disc_segmentation: largest difference {difference:g} of 255")
    graders = read_checkpoint(options.run / "grading" / "checkpoint.pt")
    path = options.to / "disc_grading" / "1" / "model.onnx"
    export_grader(graders, path)
    inputs = {"CROPS": torch.rand(5, *CROP_SHAPE), "FEATURES": torch.randn(5, FEATURES)}
    difference = parity(graders, path, inputs)
    if difference > _LARGEST_PROBABILITY_DIFFERENCE:
        raise SystemExit(f"the exported grader differs from its checkpoint by {difference:g}")
    console.print(f"{path.name} of disc_grading: largest difference {difference:g}")


if __name__ == "__main__":
    main()
