"""``discgrade.v1.GradingService``: the gRPC way in, on the same dataplane as HTTP."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from pydantic import ValidationError

from discgrade._messages import to_message
from discgrade.dicomweb import DicomwebReference
from discgrade.errors import InvalidRequest, NotFound
from discgrade.result import GradingResult
from discgrade.v1 import grading_pb2 as pb
from gateway import intake
from gateway.dataplane import Graded
from gateway.door import Principal, Scope
from gateway.grading import grade_files, observed, spooled
from gateway.grpc_batch import Batch
from gateway.grpc_calls import Call, answer, read
from gateway.grpc_uploads import StudySpool
from gateway.made import PUBLIC_FILES
from gateway.metrics import STAGES
from gateway.results import load_file
from gateway.storage import RESULT

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["SERVICE", "GradingService"]

SERVICE = pb.DESCRIPTOR.services_by_name["GradingService"].full_name
_FILES = frozenset(PUBLIC_FILES)

Context = grpc.aio.ServicerContext[Any, Any]


class GradingService:
    """The handlers; their names are those of the proto.

    Args:
        services: The app's.
        batch_studies: Most studies of one ``GradeBatch`` in the house at a time.
        stopping: Set when the server shuts down; batches then end after what they have begun.
    """

    def __init__(self, services: Services, batch_studies: int, stopping: asyncio.Event) -> None:
        self._services = services
        self._batch_studies = batch_studies
        self._stopping = stopping

    async def Grade(self, _: object, context: Context) -> pb.GradeResponse:  # noqa: N802 - the proto's name
        """Receive a study, grade it, keep the result."""

        async def work(call: Call) -> pb.GradeResponse:
            services = self._services
            principal = await services.door.admit(call.credentials, Scope.GRADE)
            async with services.audit.action(principal, "grade", call.request_id) as entry, observed(services.metrics):
                graded = await self._grade_one(context, principal)
                entry.study_uid, entry.result_id = graded.study_uid, graded.result.result_id
            call.notes |= {f"{stage}_ms": graded.result.timings_ms[stage] for stage in STAGES}
            return pb.GradeResponse(result=to_message(graded.result))

        return await answer(context, f"/{SERVICE}/Grade", work, self._services.metrics.traffic)

    async def GradeBatch(self, _: object, context: Context) -> None:  # noqa: N802
        """Receive studies one after the other, answer each as it finishes."""

        async def work(call: Call) -> None:
            await Batch(self._services, call, context, self._batch_studies, self._stopping).run()

        await answer(context, f"/{SERVICE}/GradeBatch", work, self._services.metrics.traffic)

    async def GetResult(  # noqa: N802
        self, request: pb.GetResultRequest, context: Context
    ) -> pb.GetResultResponse:
        """Answer with a kept result."""

        async def work(call: Call) -> pb.GetResultResponse:
            services = self._services
            principal = await services.door.admit(call.credentials, Scope.READ)
            async with services.audit.action(principal, "read result", call.request_id) as entry:
                if not _FILES.issuperset(request.files):
                    raise NotFound("A result has no file of this name.", f"Its files are {', '.join(sorted(_FILES))}.")
                names = (RESULT, *dict.fromkeys(request.files))
                content = {name: await load_file(services, request.result_id, name) for name in names}
                entry.result_id = request.result_id
            result = GradingResult.model_validate_json(content.pop(RESULT))
            return pb.GetResultResponse(result=to_message(result), files=content)

        return await answer(context, f"/{SERVICE}/GetResult", work, self._services.metrics.traffic, uploads=False)

    async def _receive(self, context: Context, message: pb.GradeRequest | None, spool: StudySpool) -> list[Path]:
        try:
            while message is not None:
                await spool.add(message.chunk)
                message = await read(context, self._services.upload_limits.idle_seconds)
            return await spool.finish()
        finally:
            await spool.close()

    async def _grade_one(self, context: Context, principal: Principal) -> Graded:
        services, limits = self._services, self._services.upload_limits
        started = time.perf_counter()
        message = await read(context, limits.idle_seconds)
        total = message.total_bytes if message is not None else 0
        cost = services.admission.estimate(total or None)
        async with services.admission.admit(cost) as ticket, spooled(services) as (folder, workdir):
            if message is not None and message.WhichOneof("part") == "dicomweb":
                reference = _reference(message.dicomweb)
                services.dicomweb.check(reference, principal.name)
                files = await intake.fetched(services, reference, folder)
            else:
                sent = await self._receive(context, message, StudySpool(folder, limits, services.workers, total))
                files = await intake.deidentified(services, sent, folder)
            upload_ms = (time.perf_counter() - started) * 1000
            return await grade_files(services, files, workdir, upload_ms=upload_ms, ticket=ticket)


def _reference(message: pb.DicomwebReference) -> DicomwebReference:
    """Read a reference; an empty Series Instance UID is none."""
    try:
        return DicomwebReference(
            server=message.server, study_uid=message.study_uid, series_uid=message.series_uid or None
        )
    except ValidationError:  # its text may hold anything
        raise InvalidRequest(
            "The reference to a study is malformed.", "Give the name of a configured server, and valid UIDs."
        ) from None
