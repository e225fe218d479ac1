"""``discgrade triton``: the tritonserver that the suite carries, for gateways and workers elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from discgrade._command import reported, settings_from, suite

__all__ = ["triton"]


def triton(
    models_dir: Annotated[
        Path | None, typer.Option(help="The model repository; by default $DISCGRADE_MODELS_DIR, or the installed one.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Nothing guards it: the network must keep others away.")
    ] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(help="Port that gateways and workers call.", min=1, max=65535)] = 8001,
    http_port: Annotated[int, typer.Option(help="Port of Triton's health.", min=1, max=65535)] = 8000,
    metrics_port: Annotated[int, typer.Option(help="Port of Triton's metrics.", min=1, max=65535)] = 8002,
) -> None:
    """Run tritonserver on the CPU for gateways and workers with --triton-url; started again where it dies."""
    with reported():
        with suite():
            from gateway.standalone_triton import run
        run(settings_from(models_dir=models_dir), host, (grpc_port, http_port, metrics_port))
