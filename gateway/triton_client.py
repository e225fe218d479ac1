"""An asynchronous client of the ensemble ``lumbar_grading``; docs/tensors.md describes its tensors."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import structlog
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from discgrade.errors import DiscgradeError, InferenceFailed, InferenceTimeout, InferenceUnavailable, NoDiscsFound
from discgrade.result import ModelUsed
from gateway import tracing
from gateway.canary import Canary
from gateway.deadline import within
from gateway.triton_channel import CHANNEL
from gateway.triton_tensors import OUTPUTS, GradedTensors, GridTensors, checked, from_answer, to_input

__all__ = ["GradedTensors", "GridTensors", "ModelStatistics", "TritonClient"]

PIPELINE = "lumbar_grading"
CANARY = f"{PIPELINE}_canary"
"""The same ensemble over the members of another release; there only while a canary is."""
_SHARE = "share"
_PROBE_SECONDS = 5.0
_TRIES = 3
_PAUSE_SECONDS = 0.2
_PATIENCE_SECONDS = 6.0
"""A tritonserver that stops while it is idle otherwise takes 4 to 5 s, and keeps its connections until then."""
_MOST_SERVERS = 32
_NO_DISCS = "NO_DISCS_FOUND"
_log = structlog.get_logger("triton")


@dataclass(frozen=True)
class ModelStatistics:
    """What one model did since it was loaded, warm-up included.

    Attributes:
        requests: Requests answered without error.
        inferences: Batch rows computed.
        executions: Runs of the model; fewer than ``inferences`` where rows were batched.
        queue_ms: Sum over requests of the milliseconds waited.
        compute_ms: Sum over executions of the milliseconds computed, tensors' input and output included.
    """

    requests: int
    inferences: int
    executions: int
    queue_ms: float
    compute_ms: float

    def plus(self, other: ModelStatistics) -> ModelStatistics:
        """What both did together."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return ModelStatistics(*(one + more for one, more in pairs))


class TritonClient:
    """Talks gRPC to tritonserver; an asynchronous context manager, made inside a running event loop.

    Args:
        url: host:port of the gRPC service. Where the host has several addresses, requests go to the servers there in
            turn, and on to the next where one is gone; all the same whether they answer with the same release.
        timeout_seconds: Deadline of one :meth:`grade`, waiting in the server's queues included.
    """

    def __init__(self, url: str, timeout_seconds: float = 120.0) -> None:
        self._client = InferenceServerClient(url, channel_args=CHANNEL)
        # Questions take turns of their own: each study brings five, and with five servers one would grade every study.
        self._about = InferenceServerClient(url, channel_args=CHANNEL)
        self._timeout = timeout_seconds
        self._engines: dict[tuple[str, str], str] = {}
        self._releases: dict[str, tuple[ModelUsed, ...]] = {}

    async def __aenter__(self) -> TritonClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; requests in flight fail."""
        await self._client.close()
        await self._about.close()

    async def ready(self) -> bool:
        """Whether the server and every model of the ensemble would answer now."""
        try:
            return bool(await self._about.is_model_ready(PIPELINE, client_timeout=_PROBE_SECONDS))
        except InferenceServerException:
            return False

    async def grade(self, grid: GridTensors) -> GradedTensors:
        """Segment, find, name and grade the discs of an image.

        A cancelled caller cancels the request on the server.

        Raises:
            NoDiscsFound: No lumbar spine is seen.
            InferenceUnavailable: The server or a model is not there.
            InferenceTimeout: The deadline passed.
            InferenceFailed: Any other error, or an answer that makes no sense.
        """
        return await self._grade(PIPELINE, grid)

    async def grade_by_canary(self, grid: GridTensors) -> GradedTensors:
        """The same with the canary's release, in half the time: so the release in service may still grade the study."""
        return await self._grade(CANARY, grid)

    async def canary(self) -> Canary | None:
        """The canary and its share, as the server's config of it says; None where there is none.

        Raises:
            InferenceUnavailable: The server is not there.
        """
        try:
            config = (await self._about.get_model_config(CANARY, client_timeout=_PROBE_SECONDS)).config
        except InferenceServerException as error:
            if str(error.status()) == "StatusCode.NOT_FOUND":
                return None
            raise self._translated(error) from error
        (release,) = config.version_policy.specific.versions
        return Canary(str(release), float(config.parameters[_SHARE].string_value))

    async def _grade(self, model: str, grid: GridTensors) -> GradedTensors:
        inputs = [
            to_input("IMAGE", grid.pixels[:, None]),
            to_input("FIELD_OF_VIEW", np.array(grid.field_of_view, dtype=np.int32)),
            to_input("SLICE_SPACING", np.array([grid.slice_spacing_mm], dtype=np.float32)),
        ]
        for _ in range(_TRIES):
            answer = await self._infer_patiently(model, inputs)
            release = str(answer.get_response().model_version)
            if await self._know(model, release):
                return checked({name: from_answer(answer, name) for name in OUTPUTS}, grid.pixels.shape, release)
        raise InferenceUnavailable("tritonserver changes releases faster than they answer.")

    async def models(self, release: str | None = None) -> list[ModelUsed]:
        """The ensemble and its members in the order of their work.

        Args:
            release: Version of the ensemble that graded; by default the one that answers now.

        Raises:
            InferenceUnavailable: The server or a model is not there.
        """
        if release is not None and release in self._releases:
            return list(self._releases[release])
        try:
            return list(await self._ask_release(PIPELINE, release or await self._release_in_service()))
        except InferenceServerException as error:
            raise self._translated(error) from error

    async def _infer_patiently(self, model: str, inputs: list[InferInput]) -> Any:
        """Ask again while a server that stops goes on refusing what the others would take, but no canary that ended."""
        patience = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return await self._infer(model, inputs)
            except InferenceUnavailable:
                if time.monotonic() > patience or (model == CANARY and await self._canary_ended()):
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _canary_ended(self) -> bool:
        try:
            return await self.canary() is None
        except DiscgradeError:  # no server to say so
            return False

    async def _infer(self, model: str, inputs: list[InferInput]) -> Any:
        outputs = [InferRequestedOutput(name) for name in OUTPUTS]
        seconds = within(self._timeout)
        with tracing.span(f"triton {model}", tracing.SpanKind.CLIENT, attributes={"rpc.system": "grpc"}):
            parent = tracing.traceparent()
            try:
                return await self._client.infer(
                    model,
                    inputs,
                    outputs=outputs,
                    client_timeout=seconds if model == PIPELINE else seconds / 2,
                    headers=None if parent is None else {"traceparent": parent},
                )
            except InferenceServerException as error:
                raise self._translated(error) from error

    async def _know(self, model: str, release: str) -> bool:
        """Find out which members answered with a release.

        Asked anew each time, since a restarted server may compute the same versions with other engines. A release that
        was taken out of service while it answered can no longer be asked: then what was known of it before holds. If
        nothing was, the study is graded again.
        """
        try:
            await self._ask_release(model, release)
        except InferenceServerException:
            return release in self._releases
        return True

    async def _ask_release(self, model: str, release: str) -> tuple[ModelUsed, ...]:
        """A release's members and engines; a version of the ensemble names the versions of its members."""
        config = await self._config(model, release)
        members = {step.model_name: str(step.model_version) for step in config.ensemble_scheduling.step}
        engines = await asyncio.gather(*(self._engine(name, version) for name, version in members.items()))
        self._releases[release] = (
            ModelUsed(name=PIPELINE, version=release, engine=config.platform),
            *(
                ModelUsed(name=name, version=version, engine=engine)
                for (name, version), engine in zip(members.items(), engines, strict=True)
            ),
        )
        return self._releases[release]

    async def _release_in_service(self) -> str:
        """The version of the ensemble that answers: the latest that is ready."""
        index = await self._about.get_model_repository_index(client_timeout=_PROBE_SECONDS)
        ready = [int(model.version) for model in index.models if (model.name, model.state) == (PIPELINE, "READY")]
        if not ready:
            raise InferenceUnavailable(f"The model {PIPELINE} is not loaded.")
        return str(max(ready))

    async def statistics(self) -> dict[str, ModelStatistics]:
        """What each loaded model did so far, by name; versions are added up.

        Raises:
            InferenceUnavailable: The server is not there.
        """
        try:
            answer = await self._about.get_inference_statistics(client_timeout=_PROBE_SECONDS)
        except InferenceServerException as error:
            raise self._translated(error) from error
        by_name: dict[str, ModelStatistics] = {}
        for model in answer.model_stats:
            one = _statistics(model)
            by_name[model.name] = by_name[model.name].plus(one) if model.name in by_name else one
        return by_name

    async def _config(self, name: str, version: str) -> Any:
        return (
            await _anywhere(lambda: self._about.get_model_config(name, version, client_timeout=_PROBE_SECONDS))
        ).config

    async def _engine(self, name: str, version: str) -> str:
        """What computes a model: Triton's own backend, or what our Python model says it loaded."""
        config = await self._config(name, version)
        if config.backend != "python" or all(output.name != "ENGINE" for output in config.output):
            return str(config.backend or config.platform)
        if (name, version) not in self._engines:
            self._engines[name, version] = await self._ask_engine(config, version)
        return self._engines[name, version]

    async def _ask_engine(self, config: Any, version: str) -> str:
        inputs = []
        for tensor in config.input:
            shape = [1, *(32 if size < 0 else size for size in tensor.dims)]
            dtype = np.uint8 if tensor.name == "IMAGE" else np.float32
            inputs.append(to_input(tensor.name, np.zeros(shape, dtype=dtype)))
        answer = await _anywhere(
            lambda: self._about.infer(
                config.name,
                inputs,
                model_version=version,
                outputs=[InferRequestedOutput("ENGINE")],
                client_timeout=_PROBE_SECONDS,
            )
        )
        return str(from_answer(answer, "ENGINE")[0, 0].decode())

    def _translated(self, error: InferenceServerException) -> DiscgradeError:
        message, status = error.message() or "", str(error.status()).removeprefix("StatusCode.")
        if _NO_DISCS in message:
            return NoDiscsFound(message.split(_NO_DISCS, 1)[1].strip() or "No lumbar spine is seen in this series.")
        _log.error("request failed", status=status, message=message)
        if status == "DEADLINE_EXCEEDED":
            return InferenceTimeout(f"tritonserver did not answer within {self._timeout:g} s.")
        # Cancelled: by a server that stops. Not healthy: a Python stub died, and the server is about to be restarted.
        if status in {"UNAVAILABLE", "NOT_FOUND", "CANCELLED"} or "is not healthy" in message:
            return InferenceUnavailable("tritonserver, or a model of the ensemble, is not there.")
        if "shared memory" in message:
            return InferenceFailed("tritonserver has too little shared memory (/dev/shm) for this image.")
        return InferenceFailed(f"tritonserver answered with {status}.")


async def _anywhere(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask for a version that only some of the servers may have: with each repetition the next one answers."""
    for _ in range(_MOST_SERVERS):
        try:
            return await ask()
        except InferenceServerException as error:
            if str(error.status()) != "StatusCode.NOT_FOUND":
                raise
            unknown = error
    raise unknown


def _statistics(model: Any) -> ModelStatistics:
    stats = model.inference_stats
    compute = sum(
        batch.compute_input.ns + batch.compute_infer.ns + batch.compute_output.ns for batch in model.batch_stats
    )
    return ModelStatistics(
        requests=stats.success.count,
        inferences=model.inference_count,
        executions=model.execution_count,
        queue_ms=stats.queue.ns / 1e6,
        compute_ms=compute / 1e6,
    )
