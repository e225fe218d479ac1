from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc import InferResult, service_pb2

from discgrade.errors import InferenceFailed
from gateway.triton_tensors import OUTPUTS, checked, from_answer, to_input

SHAPE = (2, 32, 64)


def _answer(name: str, datatype: str, shape: list[int], contents: bytes) -> InferResult:
    message = service_pb2.ModelInferResponse()
    output = message.outputs.add()
    output.name, output.datatype = name, datatype
    output.shape.extend(shape)
    message.raw_output_contents.append(contents)
    return InferResult(message)


def _arrays(discs: int) -> dict[str, NDArray[Any]]:
    image = np.zeros(SHAPE, dtype=np.uint8)
    names = np.array([b"L5/S1", b"unknown", b"L3/L4"][:discs], dtype=np.object_)
    values: list[NDArray[Any]] = [
        *(image, image, image, np.zeros((discs, 6), np.int32), np.zeros(discs, np.int32), names, np.ones(discs)),
        *(np.array([b"single_slice sacrum_not_seen"], dtype=np.object_), np.ones((discs, 3)), np.ones((discs, 5))),
    ]
    return dict(zip(OUTPUTS, values, strict=True))


def test_a_tensor_arrives_as_it_was_sent() -> None:
    answer = _answer("LABELS", "UINT8", [2, 3], bytes(range(6)))
    np.testing.assert_array_equal(from_answer(answer, "LABELS"), [[0, 1, 2], [3, 4, 5]])


def test_a_shape_without_data_is_a_failure() -> None:
    """What this server answers when its Python has NumPy 2."""
    with pytest.raises(InferenceFailed, match="empty tensor LABELS"):
        from_answer(_answer("LABELS", "UINT8", [2, 3], b""), "LABELS")


def test_a_missing_tensor_is_a_failure() -> None:
    with pytest.raises(InferenceFailed, match="empty tensor BOXES"):
        from_answer(_answer("LABELS", "UINT8", [1], b"1"), "BOXES")


def test_texts_are_decoded() -> None:
    graded = checked(_arrays(3), SHAPE, "7")
    assert graded.release == "7"
    assert graded.levels == ("L5/S1", "unknown", "L3/L4")
    assert graded.warnings == ("single_slice", "sacrum_not_seen")


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_tensor_that_does_not_fit_is_a_failure(name: str) -> None:
    arrays = _arrays(2)
    arrays[name] = np.concatenate([arrays[name], arrays[name]])
    with pytest.raises(InferenceFailed, match="of shape"):
        checked(arrays, SHAPE, "7")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_a_view_is_sent_in_row_order(dtype: type[np.generic]) -> None:
    array = np.arange(12).astype(dtype).reshape(3, 4).T
    tensor = to_input("ANY", array)
    assert tensor.shape() == [4, 3]
    assert tensor._get_content() == array.tobytes()
