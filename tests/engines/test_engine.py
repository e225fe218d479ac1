from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines import ENGINES, PRECISION_VARIABLE, CPUPrecision, Engine, int8_beside, load_engine

KERNEL = np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def onnx_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with dynamic batch, height and width: FILTERED = conv(IMAGE), FLAT = IMAGE as it came."""
    image = helper.make_tensor_value_info("IMAGE", TensorProto.UINT8, ["n", 1, "h", "w"])
    filtered = helper.make_tensor_value_info("FILTERED", TensorProto.FLOAT, ["n", 1, "h", "w"])
    flat = helper.make_tensor_value_info("FLAT", TensorProto.UINT8, ["n", "h", "w"])
    nodes = [
        helper.make_node("Cast", ["IMAGE"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "kernel"], ["FILTERED"], pads=[1, 1, 1, 1]),
        helper.make_node("Squeeze", ["IMAGE", "axis"], ["FLAT"]),
    ]
    constants = [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(np.array([1]), "axis")]
    graph = helper.make_graph(nodes, "filter", [image], [filtered, flat], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("onnx") / "filter.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(params=[(name, threads) for name in ENGINES for threads in (1, 2)])
def engine(request: pytest.FixtureRequest, onnx_path: Path) -> Engine:
    name, threads = request.param
    return load_engine(onnx_path, threads=threads, prefer=(name,))


def _image(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (shape[0], 1, *shape[1:]), dtype=np.uint8)


def _filtered(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    padded = np.pad(image.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    filtered = np.zeros(image.shape)
    for row, column in np.ndindex(3, 3):
        filtered += (
            KERNEL[0, 0, row, column] * padded[:, :, row : row + image.shape[2], column : column + image.shape[3]]
        )
    return filtered


def test_knows_its_tensors(engine: Engine) -> None:
    assert engine.inputs == ("IMAGE",)
    assert engine.outputs == ("FILTERED", "FLAT")


def test_computes_in_fp32_whatever_the_shape(engine: Engine) -> None:
    """Bfloat16 would be off by about 1."""
    for shape in [(1, 32, 64), (3, 32, 64), (2, 96, 32), (1, 32, 64), (8, 32, 32)]:
        image = _image(shape)
        answer = engine.run({"IMAGE": image})
        np.testing.assert_allclose(answer["FILTERED"], _filtered(image), atol=1e-3)
        np.testing.assert_array_equal(answer["FLAT"], image[:, 0])


def test_outputs_belong_to_the_caller(engine: Engine) -> None:
    first = engine.run({"IMAGE": _image((1, 32, 32), seed=1)})
    kept = {name: value.copy() for name, value in first.items()}
    engine.run({"IMAGE": _image((1, 32, 32), seed=2)})
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])


def test_a_wrong_input_is_an_error_and_harms_nothing(engine: Engine) -> None:
    with pytest.raises(Exception, match=r"(?i)shape|rank|dimension"):
        engine.run({"IMAGE": np.zeros((4, 3, 32, 32), dtype=np.uint8)})
    image = _image((4, 32, 32))
    np.testing.assert_array_equal(engine.run({"IMAGE": image})["FLAT"], image[:, 0])


def test_the_first_installed_engine_is_taken(onnx_path: Path) -> None:
    assert load_engine(onnx_path, threads=1).name == next(iter(ENGINES))
    assert load_engine(onnx_path, threads=1, prefer=("onnxruntime", "openvino")).name == "onnxruntime"


def test_an_unknown_engine_is_refused(onnx_path: Path) -> None:
    with pytest.raises(ValueError, match="nonesuch"):
        load_engine(onnx_path, prefer=("openvino", "nonesuch"))


def test_no_engine_installed(onnx_path: Path) -> None:
    with pytest.raises(ImportError, match="discgrade"):
        load_engine(onnx_path, prefer=())


@pytest.fixture
def in_both(onnx_path: Path, tmp_path: Path) -> Path:
    """A network with another beside it that stands for its INT8 form: it answers twice as much."""
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_path.read_bytes())
    doubled = onnx.load(onnx_path)
    doubled.graph.initializer[0].CopyFrom(numpy_helper.from_array(2 * KERNEL, "kernel"))
    onnx.save(doubled, int8_beside(path))
    return path


def _factor(engine: Engine) -> float:
    image = _image((1, 32, 32))
    return float(engine.run({"IMAGE": image})["FILTERED"].sum() / _filtered(image).sum())


def test_int8_is_taken_where_the_release_has_it(in_both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)
    for name in ENGINES:
        engine = load_engine(in_both, 1, (name,))
        assert engine.name == f"{name}-int8"
        assert _factor(engine) == pytest.approx(2, rel=1e-3)


def test_where_there_is_no_int8_the_engine_says_so(onnx_path: Path) -> None:
    assert load_engine(onnx_path, 1, ("onnxruntime",), CPUPrecision.INT8).name == "onnxruntime"


def test_an_operator_can_keep_to_fp32(in_both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRECISION_VARIABLE, "fp32")
    engine = load_engine(in_both, 1, ("onnxruntime",))
    assert engine.name == "onnxruntime"
    assert _factor(engine) == pytest.approx(1, rel=1e-3)
    assert load_engine(in_both, 1, ("onnxruntime",), CPUPrecision.INT8).name == "onnxruntime-int8"


def test_a_precision_that_does_not_exist_is_refused(in_both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRECISION_VARIABLE, "int4")
    with pytest.raises(ValueError, match="DISCGRADE_CPU_PRECISION can be int8 or fp32"):
        load_engine(in_both)
