"""A receiver of webhooks that checks signatures and is at times out of order."""

from __future__ import annotations

import base64
import collections
import random
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from standardwebhooks import Webhook

__all__ = ["Receiver"]


class Receiver:
    """Counts what it receives; a context manager.

    Args:
        failing: Share of the messages that it takes and then answers with an error.
        seed: Chooses them.

    Attributes:
        secret: What senders sign with.
        seen: How often each message came.
        states: The state that each job's message named, by job id.
        hosts: Whom the messages were for, as their senders said.
        refused: Messages without a valid signature.
    """

    def __init__(self, failing: float = 0.0, seed: int = 0) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.seen: collections.Counter[str] = collections.Counter()
        self.states: dict[str, set[str]] = collections.defaultdict(set)
        self.hosts: set[str] = set()
        self.refused = 0
        checker, chance, lock = Webhook(self.secret), random.Random(seed), threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with lock:
                    try:
                        message = checker.verify(body, dict(self.headers))
                    except Exception:
                        receiver.refused += 1
                        status = 401
                    else:
                        message_id = self.headers["webhook-id"]
                        receiver.seen[message_id] += 1
                        receiver.hosts.add(self.headers["host"])
                        receiver.states[message["data"]["job_id"]].add(message["data"]["state"])
                        first = receiver.seen[message_id] == 1
                        status = 503 if first and chance.random() < failing else 204
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Take HTTPS only, from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
