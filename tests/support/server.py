"""The real HTTP server on a loopback port, in a thread of the test's process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

__all__ = ["running_server"]


@contextmanager
def running_server(app: FastAPI, **options: Any) -> Iterator[str]:
    """Serve an app; yields its base URL. Keyword arguments are uvicorn's, such as those for TLS."""
    config = uvicorn.Config(app, lifespan="on", log_config=None, access_log=False, **{"port": 0, **options})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"https://localhost:{port}" if config.is_ssl else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
