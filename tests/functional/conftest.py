"""One real tritonserver for all functional tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.sync_api import Browser

from gateway.embedded import EmbeddedTriton
from gateway.triton_client import TritonClient
from preprocess.grid import Grid, to_grid
from tests.support.browser import chromium_path, running_browser
from training.phantom import PhantomSpec, make_phantom


@pytest.fixture(scope="session")
def triton() -> Iterator[EmbeddedTriton]:
    """The embedded server with the models that are installed with discgrade."""
    with EmbeddedTriton() as server:
        yield server


@pytest.fixture
async def client(triton: EmbeddedTriton) -> AsyncIterator[TritonClient]:
    async with TritonClient(triton.url) as connected:
        await connected.models()  # which asks the CPU engines for their names: requests that tests must not count
        yield connected


@pytest.fixture(scope="session")
def spine() -> Grid:
    """A phantom's three middle slices on the network grid."""
    return to_grid(make_phantom(PhantomSpec(slices=3, matrix=(384, 384))).volume)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser; of the module, since no test with an event loop can run beside it."""
    if chromium_path() is None:
        pytest.skip("chromium is not installed")
    with running_browser() as running:
        yield running
