"""A small OpenID Connect issuer on the loopback interface, whose keys rotate."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

__all__ = ["LocalIssuer", "local_issuer"]


class LocalIssuer:
    """Publishes its configuration and keys over HTTP, and signs tokens."""

    def __init__(self) -> None:
        self.url = ""
        self.fetches = 0
        self.answer_with = 200
        self.configuration: dict[str, Any] = {}
        self._keys: dict[str, tuple[Any, str]] = {}
        self.published: list[str] = []
        self.rotate("first")

    def rotate(self, key_id: str, algorithm: str = "RS256") -> None:
        """Sign with a new key from now on, and publish it alone."""
        key = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else _rsa_key()
        self._keys[key_id] = key, algorithm
        self.published = [key_id]
        self._current = key_id

    def token(self, *, key_id: str | None = None, **changes: Any) -> str:
        """A token of an hour for ``discgrade`` with the scope to grade; a claim set to None is left out."""
        name = key_id or self._current
        key, algorithm = self._keys[name]
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "discgrade",
            "sub": "archive",
            "iat": now,
            "exp": now + 3600,
            "scope": "openid discgrade:grade",
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": name})

    def documents(self) -> dict[str, Any]:
        """What is served, by path."""
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                **self.configuration,
            },
            "/keys": {"keys": [self._public(name) for name in self.published]},
        }

    def _public(self, name: str) -> dict[str, Any]:
        key, algorithm = self._keys[name]
        kind = ECAlgorithm if algorithm == "ES256" else RSAAlgorithm
        return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": algorithm, "use": "sig"}


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@contextmanager
def local_issuer() -> Iterator[LocalIssuer]:
    """Serve an issuer as long as the block lasts."""
    issuer = LocalIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = issuer.documents().get(self.path)
            issuer.fetches += self.path == "/keys"
            body = json.dumps(document).encode()
            self.send_response(issuer.answer_with if document is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
