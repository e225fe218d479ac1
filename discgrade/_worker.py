"""``discgrade worker``: grades the jobs that gateways accept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from discgrade._command import reported, settings_from, suite

__all__ = ["worker"]


def worker(
    triton_url: Annotated[
        str | None, typer.Option(help="host:port of a running tritonserver's gRPC service; omitted, one is started.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The data folder that the gateways have.")] = None,
    host: Annotated[str, typer.Option(help="Address for health and metrics.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port for them; 0 takes a free one.", min=0, max=65535)] = 0,
) -> None:
    """Grade jobs, and serve nothing but health and metrics; any number of workers share one database."""
    with reported():
        with suite():
            from gateway.serve import serve
        settings = settings_from(triton_url=triton_url, data_dir=data_dir, run_worker=True)
        serve(settings, host, port, api=False)
