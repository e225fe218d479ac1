"""A way to an archive that ends in the middle of an object."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.orthanc import Orthanc

__all__ = ["severed"]

_BYTES = 4096


@contextmanager
def severed(orthanc: Orthanc) -> Iterator[tuple[int, threading.Event]]:
    """Relay a port to Orthanc, which is killed and started again once some of an object has passed.

    Yields:
        The port, and what is set once that has happened.
    """
    cut = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def relay(near: socket.socket) -> None:
            with near, suppress(OSError), socket.create_connection(("127.0.0.1", orthanc.dicom_port)) as far:
                back = threading.Thread(target=_pump, args=(far, near))
                back.start()
                passed = 0
                while piece := near.recv(1024):
                    far.sendall(piece)
                    passed += len(piece)
                    if passed > _BYTES and not cut.is_set():
                        orthanc.kill()
                        orthanc.start()
                        cut.set()
                        break
                with suppress(OSError):
                    far.shutdown(socket.SHUT_RDWR)
                back.join()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    relay(listening.accept()[0])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], cut
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
