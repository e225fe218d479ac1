from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from gateway.app import Services, create_app
from gateway.jobs.worker import Worker
from gateway.settings import Settings
from tests.support.studies import PATIENT_WORDS, write_study
from tests.support.truth import TruthGrader
from training.phantom import Phantom, PhantomSpec, make_phantom

Parts = list[tuple[str, tuple[str, bytes]]]
OpenClient = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(grades=(4, 3, 2, 2, 1), slices=5, pixel_mm=1.0, matrix=(256, 200)))


@pytest.fixture(scope="session")
def study(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The phantom's DICOM files as multipart parts for httpx, under names that hold patient data."""
    files = write_study(phantom, tmp_path_factory.mktemp("study"), "dicom")
    return [("files", (f"{PATIENT_WORDS[0]}/{path.name}", path.read_bytes())) for path in files]


@pytest.fixture
def grader(phantom: Phantom) -> TruthGrader:
    return TruthGrader(phantom)


@pytest.fixture
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def open_client(grader: TruthGrader, data_dir: Path) -> OpenClient:
    """Run the whole app in this process; keyword arguments are settings."""

    @asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        chosen = Settings.model_validate({"data_dir": data_dir, "cpu_workers": 2, "run_worker": False, **settings})

        def beside(services: Services) -> AbstractAsyncContextManager[object]:
            return Worker(services, chosen) if chosen.run_worker else nullcontext()

        app = create_app(chosen, lambda: grader, lambda: grader.lost, beside=beside)
        async with app.router.lifespan_context(app) as state:

            async def server(scope: Scope, receive: Receive, send: Send) -> None:
                scope["state"] = dict(state or {})  # as uvicorn does
                await app(scope, receive, send)

            transport = httpx.ASGITransport(app=server)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                yield client

    return run


@pytest.fixture
async def client(open_client: OpenClient) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as opened:
        yield opened


@pytest.fixture
def logged() -> Any:
    """Log entries written while the test runs."""
    with structlog.testing.capture_logs() as entries:
        yield entries
