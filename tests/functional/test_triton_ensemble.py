"""The ensemble and its client, against a real tritonserver."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

import model_repository
from discgrade.errors import InferenceFailed, InferenceTimeout, InferenceUnavailable, NoDiscsFound
from engines import ENGINES
from export.repository import Repository
from gateway.embedded import EmbeddedTriton
from gateway.triton_client import ModelStatistics, TritonClient
from gateway.triton_tensors import GradedTensors
from preprocess.grid import Grid

pytestmark = pytest.mark.functional

MEMBERS = ["disc_segmentation", "disc_crop", "disc_grading"]


def _slices(grid: Grid, slices: slice) -> Grid:
    return dataclasses.replace(grid, pixels=grid.pixels[slices])


def _padded(grid: Grid, rows: int) -> Grid:
    """The same image with more padding below."""
    return dataclasses.replace(grid, pixels=np.pad(grid.pixels, ((0, 0), (0, rows), (0, 0))))


def _blank(slices: int, size: int) -> Grid:
    pixels = np.zeros((slices, size, size), dtype=np.uint8)
    nothing = np.zeros(0)
    return Grid(pixels, (0, size, 0, size), 4.0, nothing, nothing, (0, 1, 2), (False, False, False))  # type: ignore[arg-type]


def _assert_same(one: GradedTensors, other: GradedTensors) -> None:
    for field in dataclasses.fields(one):
        mine, others = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, tuple | str):
            assert mine == others
        elif mine.dtype == np.uint8:  # FP32 sums depend on the batch in their last bits: let a pixel or two turn
            assert mine.shape == others.shape
            assert np.mean(np.abs(mine.astype(int) - others.astype(int)) > 1) < 1e-4
        else:
            np.testing.assert_allclose(mine, others, atol=0.02)


async def test_every_output_is_there_and_they_agree(client: TritonClient, spine: Grid) -> None:
    graded = await client.grade(spine)
    discs = len(graded.levels)
    assert discs >= 4
    assert "L4/L5" in graded.levels
    assert graded.labels.shape == graded.instances.shape == spine.pixels.shape
    assert set(np.unique(graded.instances)) == set(range(discs + 1))
    np.testing.assert_allclose(graded.severity_probabilities.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(graded.pfirrmann_probabilities.sum(axis=1), 1, atol=1e-4)
    for label, (box, middle) in enumerate(zip(graded.boxes, graded.middle_slices, strict=True), start=1):
        inside = np.argwhere(graded.instances == label)
        np.testing.assert_array_equal(box, [*inside.min(axis=0), *(inside.max(axis=0) + 1)])
        assert box[0] <= middle < box[3]
    assert np.all(graded.disc_probability[graded.labels == 1] >= 128)


async def test_one_slice_is_enough(client: TritonClient, spine: Grid) -> None:
    single = dataclasses.replace(_slices(spine, slice(1, 2)), slice_spacing_mm=0.0)
    graded = await client.grade(single)
    assert "L4/L5" in graded.levels
    assert set(graded.middle_slices) == {0}
    assert "single_slice" in graded.warnings


async def test_an_image_without_a_spine_is_the_senders_error(client: TritonClient) -> None:
    with pytest.raises(NoDiscsFound):
        await client.grade(_blank(2, 256))


async def test_requests_of_mixed_shapes_at_once_get_their_own_answers(client: TritonClient, spine: Grid) -> None:
    grids = [_slices(spine, slice(n)) for n in (1, 2, 3)] + [_padded(_slices(spine, slice(1, n)), 64) for n in (2, 3)]
    alone = [await client.grade(grid) for grid in grids]
    together = await asyncio.gather(*(client.grade(grid) for grid in grids * 2), return_exceptions=True)
    for one, other in zip(alone * 2, together, strict=True):
        assert isinstance(other, GradedTensors)
        _assert_same(one, other)


async def test_a_failure_among_requests_leaves_the_others_alone(client: TritonClient, spine: Grid) -> None:
    blank = _blank(1, spine.pixels.shape[1])
    good, bad, *_ = await asyncio.gather(
        client.grade(_slices(spine, slice(1))),
        client.grade(blank),
        client.grade(_slices(spine, slice(1))),
        return_exceptions=True,
    )
    assert isinstance(good, GradedTensors)
    assert isinstance(bad, NoDiscsFound)


async def _settled(client: TritonClient) -> dict[str, ModelStatistics]:
    """Statistics once nothing is counted any more: a run is counted a moment after its answers are sent."""
    previous: dict[str, ModelStatistics] = {}
    current = await client.statistics()
    while current != previous:
        await asyncio.sleep(0.2)
        previous, current = current, await client.statistics()
    return current


def _since(before: dict[str, ModelStatistics], after: dict[str, ModelStatistics], model: str) -> tuple[int, int]:
    inferences = after[model].inferences - before[model].inferences
    return inferences, after[model].executions - before[model].executions


async def test_slices_and_discs_of_several_requests_are_batched(client: TritonClient, spine: Grid) -> None:
    before = await _settled(client)
    one_slice = _slices(spine, slice(1, 2))
    answers = await asyncio.gather(*(client.grade(one_slice) for _ in range(8)))
    after = await _settled(client)
    inferences, executions = _since(before, after, "disc_segmentation")
    assert inferences == 8
    assert executions < 8
    inferences, executions = _since(before, after, "disc_grading")
    assert inferences == sum(len(answer.levels) for answer in answers)
    assert executions <= 8


async def test_computing_time_is_counted(client: TritonClient, spine: Grid) -> None:
    before = await _settled(client)
    await client.grade(spine)
    after = await _settled(client)
    for model in MEMBERS:
        assert after[model].compute_ms > before[model].compute_ms
        assert after[model].requests == before[model].requests + 1


async def test_models_name_their_engines(client: TritonClient) -> None:
    models = await client.models()
    assert [model.name for model in models] == ["lumbar_grading", *MEMBERS]
    service = Repository(model_repository.path()).service
    versions = {"lumbar_grading": service.release, **service.members}
    assert {model.name: int(model.version) for model in models} == versions
    best = next(iter(ENGINES))
    assert [model.engine for model in models] == ["ensemble", f"{best}-int8", "python", best]


async def test_every_model_was_warmed_up(triton: EmbeddedTriton) -> None:
    """The networks have run before the first request: warm-up is counted in executions, not in requests."""
    async with TritonClient(triton.url) as fresh:
        statistics = await fresh.statistics()
    for model in ("disc_segmentation", "disc_grading"):
        assert statistics[model].executions > 0


async def test_more_slices_than_a_batch_holds(client: TritonClient) -> None:
    with pytest.raises(InferenceFailed):
        await client.grade(_blank(257, 32))


async def test_a_deadline_that_passes(triton: EmbeddedTriton, spine: Grid) -> None:
    async with TritonClient(triton.url, timeout_seconds=0.001) as hasty:
        with pytest.raises(InferenceTimeout, match=r"0\.001 s"):
            await hasty.grade(spine)


async def test_no_server_there() -> None:
    async with TritonClient("127.0.0.1:9", timeout_seconds=5) as lost:
        assert not await lost.ready()
        with pytest.raises(InferenceUnavailable):
            await lost.grade(_blank(1, 32))
        with pytest.raises(InferenceUnavailable):
            await lost.models()


async def test_a_cancelled_caller_cancels_the_request_on_the_server(client: TritonClient, spine: Grid) -> None:
    """This server does not call a running or queued step back, but the ensemble's last step is spared."""
    before = await _settled(client)
    long = dataclasses.replace(spine, pixels=np.repeat(spine.pixels, 4, axis=0))
    first = asyncio.create_task(client.grade(long))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(client.grade(spine))
    await asyncio.sleep(0.05)
    second.cancel()
    discs = len((await first).levels)
    with pytest.raises(asyncio.CancelledError):
        await second
    assert _since(before, await _settled(client), "disc_grading")[0] == discs
