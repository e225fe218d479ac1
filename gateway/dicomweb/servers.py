"""The DICOMweb servers that an operator has configured, from a TOML file with one table a server."""

from __future__ import annotations

import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import httpx
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from gateway.door.oidc import is_confidential

__all__ = ["DicomwebServer", "load_servers"]


def _root(url: str) -> str:
    parts = httpx.URL(url)
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise ValueError("must be an absolute http or https URL")
    if parts.userinfo or parts.query or parts.fragment:
        raise ValueError("must have no user name, query or fragment")
    return url.rstrip("/")


class DicomwebServer(BaseModel):
    """Where one server is, how discgrade shows itself there, and how long it waits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_root)] = Field(description="Root of its DICOMweb services, before /studies.")
    user: str | None = Field(default=None, description="User of HTTP Basic authentication.")
    password_file: Path | None = Field(default=None, description="File with their password.")
    token_file: Path | None = Field(default=None, description="File with a bearer token; read for each fetch.")
    client_cert: Path | None = Field(default=None, description="PEM file of the certificate that discgrade shows.")
    client_key: Path | None = Field(default=None, description="PEM file of its private key.")
    ca: Path | None = Field(default=None, description="PEM file of the authorities trusted, in place of the system's.")
    callers: list[str] | None = Field(
        default=None, description="Who may name studies there, as in the audit log; everybody who may grade if omitted."
    )
    plain_http: bool = Field(default=False, description="Whether http:// is allowed to another machine.")
    connect_seconds: float = Field(default=10.0, gt=0, description="Longest wait for a connection.")
    idle_seconds: float = Field(default=60.0, gt=0, description="Longest silence.")
    fetch_seconds: float = Field(default=600.0, gt=0, description="Longest fetch of a study.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.plain_http and not is_confidential(self.url):
            raise ValueError("url must begin with https://, or be on this machine, unless plain_http = true")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        if self.user is not None and self.token_file is not None:
            raise ValueError("give a user or a token, not both")
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key belong together")
        return self

    def open(self) -> httpx.AsyncClient:
        """A client for this server alone; reads the files named, so it blocks.

        Nothing of the environment is used: no proxies, and no ``.netrc``. Redirects are not followed, so that neither
        the credentials nor the request go anywhere but to the address configured.

        Raises:
            OSError: A file cannot be read.
            ssl.SSLError: Nor understood.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": "discgrade"}
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {self.token_file.read_text().strip()}"
        auth = None
        if self.user is not None and self.password_file is not None:
            auth = httpx.BasicAuth(self.user, self.password_file.read_text().strip("\r\n"))
        return httpx.AsyncClient(
            auth=auth,
            headers=headers,
            verify=self._trust(),
            timeout=httpx.Timeout(self.idle_seconds, connect=self.connect_seconds),
            limits=httpx.Limits(max_connections=1),
            trust_env=False,
            follow_redirects=False,
        )

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        if self.client_cert is not None and self.client_key is not None:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context


_NAME = StringConstraints(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
_SERVERS = TypeAdapter(dict[Annotated[str, _NAME], DicomwebServer])


def load_servers(path: Path | None) -> Mapping[str, DicomwebServer]:
    """Read the configuration.

    Args:
        path: A TOML file; None where no studies are fetched.

    Returns:
        Name to server.

    Raises:
        ValueError: It cannot be read, and where; without its values, which may be secrets put in the wrong place.
    """
    if path is None:
        return {}
    try:
        return _SERVERS.validate_python(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ValueError(f"cannot be read ({type(error).__name__})") from None
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
        raise ValueError("; ".join(wrong)) from None
    except ValueError as error:  # of TOML and UTF-8; they tell a place
        raise ValueError(f"is no TOML file: {error}") from None
