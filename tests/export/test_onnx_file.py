"""ONNX files compute what the networks compute, and come out the same each time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import model_repository
import training
from engines import int8_beside
from export.checkpoints import load_trained
from export.errors import BadCheckpoint, BadNetwork
from export.models import GRADING, NETWORKS, SEGMENTATION, Network
from export.onnx_check import read_onnx
from export.onnx_file import example_inputs, export_onnx
from export.repository import Repository
from export.runners import onnx_runner, torch_runner
from training.config import Architecture
from training.networks import DiscGrader, ExportedGrader, ExportedSegmenter, SpineUNet
from training.runs import GRADERS, segmenter_checkpoint

WEIGHTS = Path(training.__path__[0]) / "weights"


def _segmenter() -> ExportedSegmenter:
    torch.manual_seed(0)
    return ExportedSegmenter(SpineUNet((4, 8, 8, 8, 8))).eval()


def _grader() -> ExportedGrader:
    torch.manual_seed(0)
    return ExportedGrader([DiscGrader(Architecture(width=4))]).eval()


def _served(network: Network) -> Path:
    return Repository(model_repository.path()).network(network.name)


@pytest.mark.parametrize(("slices", "height", "width"), [(1, 64, 96), (5, 128, 32)])
def test_the_segmenter_at_other_sizes_than_the_traced_one(slices: int, height: int, width: int) -> None:
    segmenter = _segmenter()
    image = np.random.default_rng(0).integers(0, 256, (slices, 1, height, width), dtype=np.uint8)
    expected = torch_runner(segmenter, SEGMENTATION)({"IMAGE": image})
    found = onnx_runner(export_onnx(segmenter, SEGMENTATION))({"IMAGE": image})
    assert np.mean(expected["LABELS"] != found["LABELS"]) < 1e-3
    assert np.abs(expected["DISC_PROBABILITY"].astype(int) - found["DISC_PROBABILITY"].astype(int)).max() <= 1


def test_the_grader_with_any_number_of_discs_and_the_same_bytes_each_time() -> None:
    grader = _grader()
    model = export_onnx(grader, GRADING)
    assert model.SerializeToString() == export_onnx(grader, GRADING).SerializeToString()
    assert model.opset_import[0].version == 20
    for discs in (1, 7):
        feed = {
            tensor.name: value.numpy()
            for tensor, value in zip(GRADING.inputs, example_inputs(GRADING, discs), strict=True)
        }
        expected, found = torch_runner(grader, GRADING)(feed), onnx_runner(model)(feed)
        for name in ("SEVERITY_PROBABILITIES", "PFIRRMANN_PROBABILITIES"):
            np.testing.assert_allclose(expected[name], found[name], atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_committed_checkpoints_give_the_committed_files(network: Network) -> None:
    """The same bytes with the pinned exporter; with another one, no grade and no label flips."""
    model = export_onnx(load_trained(WEIGHTS).networks[network.name], network)
    served = _served(network)
    if hashlib.sha256(model.SerializeToString()).hexdigest() == hashlib.sha256(served.read_bytes()).hexdigest():
        return
    feed = {t.name: value.numpy() for t, value in zip(network.inputs, example_inputs(network), strict=True)}
    found, committed = onnx_runner(model)(feed), onnx_runner(onnx.load(served))(feed)
    for tensor in network.outputs:
        if tensor.data_type == "FP32":
            np.testing.assert_array_equal(found[tensor.name].argmax(1), committed[tensor.name].argmax(1))
            np.testing.assert_allclose(found[tensor.name], committed[tensor.name], atol=1e-4)
    if network is SEGMENTATION:
        np.testing.assert_array_equal(found["LABELS"], committed["LABELS"])


def test_the_committed_int8_weights_are_the_fp32_ones_rounded() -> None:
    """So it is of the same checkpoint; its scales of activations are held by the comparison of engines."""
    served = _served(SEGMENTATION)
    exact, rounded = onnx.load(served), read_onnx(int8_beside(served), SEGMENTATION)
    constants = [
        {one.name: numpy_helper.to_array(one) for one in model.graph.initializer} for model in (exact, rounded)
    ]
    dequantised = {node.output[0]: node.input for node in rounded.graph.node if node.op_type == "DequantizeLinear"}
    exact_nodes, rounded_nodes = (
        {node.output[0]: node for node in model.graph.node if "Conv" in node.op_type} for model in (exact, rounded)
    )
    assert len(exact_nodes) > 20
    assert exact_nodes.keys() == rounded_nodes.keys()
    for name, before in exact_nodes.items():
        after = rounded_nodes[name]
        weight = constants[0][before.input[1]]
        integers, scale = (constants[1][name] for name in dequantised[after.input[1]][:2])
        assert integers.dtype == np.int8
        per_channel = np.expand_dims(scale, (1, 2, 3) if before.op_type == "Conv" else (0, 2, 3))
        assert np.all(np.abs(integers * per_channel - weight) <= 0.5001 * per_channel)
        assert list(before.input[2:]) == list(after.input[2:])  # biases stay as they are


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_committed_files_are_valid_and_name_no_source_files(network: Network) -> None:
    read_onnx(_served(network), network)
    assert b".py" not in _served(network).read_bytes()


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_committed_manifests_are_of_the_committed_files_and_checkpoints(network: Network) -> None:
    """After training: python -m export.onnx_export training/weights."""
    folder = _served(network).parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sha256"].keys() == {path.name for path in folder.iterdir() if path.is_file()} - {"manifest.json"}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    checkpoint = segmenter_checkpoint(WEIGHTS) if network is SEGMENTATION else WEIGHTS / GRADERS
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert manifest["training_run"]["checkpoints"][checkpoint.relative_to(WEIGHTS).as_posix()] == digest


def test_the_widths_of_a_segmenter_are_read_from_its_weights(tmp_path: Path) -> None:
    for name in ("segmentation", "grading"):
        (tmp_path / name).mkdir()
    torch.save({"ema": _segmenter().network.state_dict()}, tmp_path / "segmentation" / "checkpoint.pt")
    (tmp_path / "grading" / "checkpoint.pt").write_bytes((WEIGHTS / "grading" / "checkpoint.pt").read_bytes())
    trained = load_trained(tmp_path)
    segmenter = trained.networks[SEGMENTATION.name]
    assert isinstance(segmenter, ExportedSegmenter)
    assert segmenter.network.widths == (4, 8, 8, 8, 8)
    assert set(trained.sources) == {"segmentation/checkpoint.pt", "grading/checkpoint.pt"}
    (tmp_path / "sharpening").mkdir()  # a later stage counts
    (tmp_path / "sharpening" / "checkpoint.pt").write_bytes((tmp_path / "segmentation" / "checkpoint.pt").read_bytes())
    assert set(load_trained(tmp_path).sources) == {"sharpening/checkpoint.pt", "grading/checkpoint.pt"}


def test_a_run_without_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"holds no sharpening/checkpoint\.pt"):
        load_trained(tmp_path)


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    for name in ("segmentation", "grading"):
        (tmp_path / name).mkdir()
        torch.save({"ema": {"other": torch.zeros(1)}, "width": 4, "members": []}, tmp_path / name / "checkpoint.pt")
    with pytest.raises(BadCheckpoint, match="do not fit the networks"):
        load_trained(tmp_path)


def test_what_is_no_onnx_and_what_is_another_network(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff\xff no network")
    with pytest.raises(BadNetwork, match="no readable ONNX file"):
        read_onnx(tmp_path / "model.onnx", SEGMENTATION)
    with pytest.raises(BadNetwork, match="no readable ONNX file"):
        read_onnx(tmp_path / "absent.onnx", SEGMENTATION)
    with pytest.raises(BadNetwork, match="that the configs do not describe"):
        read_onnx(_served(GRADING), SEGMENTATION)
