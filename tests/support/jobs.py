"""Waiting for jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

__all__ = ["ended", "in_state"]


async def ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """The job, once it ended."""
    return await _once(client, job_id, lambda job: job["state"] not in {"queued", "running"})


async def in_state(
    client: httpx.AsyncClient, job_id: str, state: str, also: Callable[[dict[str, Any]], bool] = lambda _: True
) -> dict[str, Any]:
    """The job, once it is in a state; fails if it ended in another."""

    def there(job: dict[str, Any]) -> bool:
        if job["state"] == state:
            return also(job)
        assert job["state"] in {"queued", "running"}, job
        return False

    return await _once(client, job_id, there)


async def _once(client: httpx.AsyncClient, job_id: str, there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            answer = await client.get(f"/v1/jobs/{job_id}")
            assert answer.status_code == 200, answer.text
            job: dict[str, Any] = answer.json()
            if there(job):
                return job
            await asyncio.sleep(0.1)
