"""What an operator sets for a node: one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from discgrade.errors import InvalidRequest

__all__ = ["CStoreDestination", "Destination", "NodeSettings", "StowDestination", "Tls", "load_settings"]

MIB = 1024 * 1024


def _no_control(title: str) -> str:
    # PS3.5 6.2: default repertoire without backslash and control characters, not spaces alone.
    if not title.strip() or "\\" in title or not title.isascii() or not title.isprintable():
        raise ValueError("is no AE title")
    return title.strip()


AeTitle = Annotated[str, StringConstraints(min_length=1, max_length=16), AfterValidator(_no_control)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
ObjectName = Literal["segmentation.dcm", "report.sr.dcm", "overlay.dcm", "report.pdf.dcm"]
"""Files of a result that are DICOM objects."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Table):
    """TLS of the node's port, or towards a destination."""

    cert: Path | None = Field(default=None, description="PEM file of our certificate, and of those that signed it.")
    key: Path | None = Field(default=None, description="PEM file of its private key.")
    ca: Path | None = Field(
        default=None,
        description="PEM file of the authority of the other side. At the node's port: callers must show a certificate.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Tls:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together")
        return self


class _Destination(_Table):
    objects: tuple[ObjectName, ...] = Field(
        default=("segmentation.dcm", "report.sr.dcm", "overlay.dcm"),
        min_length=1,
        description="Which objects of a result are sent.",
    )
    timeout_seconds: float = Field(default=30.0, gt=0, description="Longest silence of the destination.")
    first_retry_seconds: float = Field(default=5.0, gt=0, description="Wait before the second attempt; then doubled.")
    longest_retry_seconds: float = Field(default=600.0, gt=0, description="Longest wait between attempts.")
    refusals: int = Field(
        default=10, gt=0, description="Refusals of an object after which it is laid aside for an operator."
    )


class CStoreDestination(_Destination):
    """An archive that takes results by C-STORE."""

    kind: Literal["c-store"]
    ae_title: AeTitle = Field(description="AE title of the archive.")
    host: str = Field(min_length=1, description="Its name or address.")
    port: int = Field(ge=1, le=65535, description="Its port.")
    tls: Tls | None = Field(default=None, description="Encrypts; ca is by default that of the system.")


class StowDestination(_Destination):
    """An archive that takes results by STOW-RS."""

    kind: Literal["stow-rs"]
    url: str = Field(pattern="^https?://[^/]+", description="Root of its DICOMweb services, before /studies.")
    user: str | None = Field(default=None, description="User of HTTP basic authentication.")
    password_file: Path | None = Field(default=None, description="File with that user's password.")
    token_file: Path | None = Field(default=None, description="File with a bearer token; read for each attempt.")
    client_cert: Path | None = Field(default=None, description="PEM file of the certificate that the node shows.")
    client_key: Path | None = Field(default=None, description="PEM file of its private key.")
    ca: Path | None = Field(default=None, description="PEM file of the server's authority; the system's when omitted.")

    @model_validator(mode="after")
    def _has_one_way_in(self) -> StowDestination:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        if self.user is not None and self.token_file is not None:
            raise ValueError("either user or token_file")
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key belong together")
        return self


Destination = Annotated[CStoreDestination | StowDestination, Field(discriminator="kind")]


class Caller(_Table):
    """A device that may send studies."""

    destinations: tuple[Name, ...] | None = Field(
        default=None, description="Where results of its studies go; to all destinations when omitted."
    )


class NodeSettings(_Table):
    """Settings of one node: the keys of its TOML file."""

    ae_title: AeTitle = Field(default="DISCGRADE", description="AE title that callers must call.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(default=11112, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    tls: Tls | None = Field(default=None, description="Encrypts the port; with ca, callers must show a certificate.")
    callers: dict[AeTitle, Caller] = Field(min_length=1, description="AE titles that may call; all others may not.")
    destinations: dict[Name, Destination] = Field(default={}, description="Archives that results are sent to, by name.")

    data_dir: Path = Field(
        default=Path("discgrade-node"), description="Where studies and results wait; one file system."
    )
    gateway_url: str = Field(
        default="http://127.0.0.1:8000", pattern="^https?://[^/]+", description="The gateway that grades."
    )
    api_key_file: Path | None = Field(
        default=None, description="File with an API key of the gateway that has the scopes jobs and read."
    )
    gateway_timeout_seconds: float = Field(default=60.0, gt=0, description="Longest silence of the gateway.")
    studies_at_once: int = Field(default=8, gt=0, description="Most studies that the gateway is given at a time.")
    metrics_host: str = Field(default="127.0.0.1", description="Address for health and metrics.")
    metrics_port: int = Field(
        default=11113, ge=0, le=65535, description="Port for health and metrics; 0 takes a free one."
    )

    quiet_seconds: float = Field(
        default=60.0, gt=0, description="A study is complete when it got nothing for so long, and was sent properly."
    )
    interrupted_seconds: float = Field(
        default=600.0, gt=0, description="How long a study whose sending was cut off waits for the rest."
    )
    interrupted: Literal["hold", "grade"] = Field(
        default="hold", description="What becomes of it then: held for an operator, or graded with what is there."
    )
    other_objects: Literal["ignore", "refuse"] = Field(
        default="ignore", description="Storage objects other than MR: accepted and not kept, or refused."
    )
    keep_hours: float = Field(
        default=24.0, gt=0, description="Hours for which a finished study is kept, to be graded again with late images."
    )
    max_associations: int = Field(default=20, gt=0, description="Most associations at a time.")
    max_pdu_bytes: int = Field(default=128 * 1024, ge=4096, description="Largest PDU that is received.")
    network_seconds: float = Field(default=60.0, gt=0, description="Longest silence within an association.")
    max_instance_bytes: int = Field(default=1024 * MIB, gt=0, description="Largest object that is taken.")
    max_study_instances: int = Field(default=2000, gt=0, description="Most objects of one study.")
    max_study_bytes: int = Field(default=2048 * MIB, gt=0, description="Most bytes of one study.")
    min_free_bytes: int = Field(default=1024 * MIB, ge=0, description="Disk space below which nothing is taken.")
    stop_seconds: float = Field(default=10.0, ge=0, description="Longest wait for open associations at shutdown.")

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> NodeSettings:
        for title, caller in self.callers.items():
            unknown = set(caller.destinations or ()) - set(self.destinations)
            if unknown:
                raise ValueError(f"{title} sends to {', '.join(sorted(unknown))}, which is no destination")
        return self

    def routes(self, callers: Iterable[str]) -> list[str]:
        """Names of the destinations of a study, by who sent it.

        Args:
            callers: AE titles; one that may no longer call sends nowhere.
        """
        wanted: set[str] = set()
        for title in callers:
            if caller := self.callers.get(title):
                wanted.update(self.destinations if caller.destinations is None else caller.destinations)
        return sorted(wanted)


def load_settings(path: Path) -> NodeSettings:
    """Read a node's TOML file; relative paths in it are below its folder.

    Raises:
        InvalidRequest: It is not there, no TOML, or a setting is wrong; the message says which.
    """
    advice = "See docs/integration.md, which has a complete example."
    try:
        values = tomllib.loads(path.read_text())
    except OSError:
        raise InvalidRequest("The node's configuration cannot be read.", advice) from None
    except ValueError as error:  # no UTF-8, or no TOML
        raise InvalidRequest(f"The node's configuration is no TOML: {error}.", advice) from None
    try:
        settings = NodeSettings.model_validate(values)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise InvalidRequest(f"The node's configuration is wrong. {'; '.join(wrong)}.", advice) from None
    return settings.model_copy(update={"data_dir": path.parent / settings.data_dir})
