"""The gate: TensorRT-RTX, which needs no GPU to build, takes every network in every precision."""

from __future__ import annotations

import dataclasses
import platform

import numpy as np
import onnx
import pytest
from onnx import helper

import model_repository
from export.errors import BadNetwork
from export.models import GRADING, NETWORKS, SEGMENTATION, Network, Precision
from export.onnx_check import read_onnx
from export.onnx_file import example_inputs
from export.precision import Feed, in_precision
from export.repository import Repository
from export.runners import onnx_runner
from export.tensorrt_api import TensorRT, load_api
from export.tensorrt_builder import build_plan

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="TensorRT-RTX is made for x86-64 alone (the test extra)"
)


@pytest.fixture(scope="module")
def trt() -> TensorRT:
    return load_api(rtx=True)


def _committed(network: Network) -> onnx.ModelProto:
    return read_onnx(Repository(model_repository.path()).network(network.name), network)


def _feed(network: Network) -> Feed:
    return {t.name: value.numpy() for t, value in zip(network.inputs, example_inputs(network), strict=True)}


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_network_parses_and_builds(trt: TensorRT, network: Network, precision: Precision) -> None:
    graph = in_precision(_committed(network), network, precision, [_feed(network)] * 2)
    kinds = {node.op_type for node in graph.graph.node}
    assert ("QuantizeLinear" in kinds) == (precision is Precision.INT8)
    halves = [one for one in graph.graph.initializer if one.data_type == onnx.TensorProto.FLOAT16]
    assert bool(halves) == (precision is Precision.FP16)
    plan = build_plan(trt, graph.SerializeToString(), network)
    assert len(plan.engine) > 1e5
    assert plan.tensorrt == trt.__version__


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_lower_precision_still_computes_the_grader(precision: Precision) -> None:
    model, feed = _committed(GRADING), _feed(GRADING)
    lower = onnx_runner(in_precision(model, GRADING, precision, [feed] * 2))(feed)
    for name, expected in onnx_runner(model)(feed).items():
        difference = np.abs(lower[name] - expected).max()
        assert 0 < difference < 0.1  # it computes otherwise, and nearly the same


def test_int8_needs_inputs_to_calibrate_with() -> None:
    with pytest.raises(BadNetwork, match="cannot be quantised"):
        in_precision(_committed(GRADING), GRADING, Precision.INT8, [])


def test_an_unsupported_operator_is_named_with_its_node(trt: TensorRT) -> None:
    image = helper.make_tensor_value_info("IMAGE", onnx.TensorProto.FLOAT, ["n", 1, "h", "w"])
    odd = helper.make_tensor_value_info("ODD", onnx.TensorProto.INT64, None)
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["IMAGE"], ["ODD"], name="the_odd_one")], "g", [image], [odd]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(BadNetwork, match="operator NonZero of node the_odd_one"):
        build_plan(trt, model.SerializeToString(), SEGMENTATION)


def test_what_is_no_network(trt: TensorRT) -> None:
    with pytest.raises(BadNetwork, match="Failed to parse the ONNX model"):
        build_plan(trt, b"no network", SEGMENTATION)


def test_another_networks_inputs(trt: TensorRT) -> None:
    model = _committed(GRADING).SerializeToString()
    with pytest.raises(BadNetwork, match="that its profiles do not describe"):
        build_plan(trt, model, SEGMENTATION)


def test_profiles_that_contradict_themselves(trt: TensorRT) -> None:
    upside_down = dataclasses.replace(GRADING, profiles=((8, 1, 4),))
    with pytest.raises(BadNetwork, match=r"optimisation profile for batches \(8, 1, 4\) is not valid"):
        build_plan(trt, _committed(GRADING).SerializeToString(), upside_down)
