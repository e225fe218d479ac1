"""The door over HTTP: keys, scopes, rates, and what a browser of another site may not do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from discgrade.errors import Conflict, NotFound, ServiceError, Unauthenticated
from gateway.door import Scope
from gateway.door.build import decided
from gateway.door.keys import KeyFile
from gateway.settings import DoorMode, Settings
from tests.gateway.conftest import OpenClient, Parts
from tests.support.issuer import LocalIssuer, local_issuer

EVERYTHING = frozenset(Scope)
FREE = ("/livez", "/readyz", "/docs", "/openapi.json")


@pytest.fixture
def keys(data_dir: Path) -> KeyFile:
    return KeyFile(data_dir / "keys.json")


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    with local_issuer() as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def audited(data_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data_dir / "audit" / "log.jsonl").read_bytes().splitlines()]


async def test_without_a_key_nothing_but_health_and_the_description_answers(
    open_client: OpenClient, study: Parts, data_dir: Path
) -> None:
    async with open_client(door="on") as client:
        for path in FREE:
            assert (await client.get(path)).status_code == 200
        refused = [
            await client.post("/v1/grade", files=study),
            await client.get(f"/v1/results/{'0' * 32}"),
            await client.get("/v1/models"),
            await client.get("/metrics"),
        ]
        described = (await client.get("/openapi.json")).json()["paths"]
    for answer in refused:
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:discgrade:problem:unauthenticated"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert {path for path, item in described.items() if not all("security" in route for route in item.values())} == {
        "/livez",
        "/readyz",
    }
    assert {(line["who"], line["outcome"]) for line in audited(data_dir)} == {("unknown@127.0.0.1", "unauthenticated")}


async def test_a_key_opens_what_its_scopes_say(
    open_client: OpenClient, study: Parts, keys: KeyFile, data_dir: Path
) -> None:
    archive = bearer(keys.create("archive", frozenset({Scope.GRADE})))
    viewer = bearer(keys.create("viewer", frozenset({Scope.READ})))
    prometheus = bearer(keys.create("prometheus", frozenset({Scope.METRICS})))
    async with open_client(door="on") as client:
        graded = await client.post("/v1/grade", files=study, headers=archive)
        assert graded.status_code == 201
        address = graded.headers["location"]
        forbidden = await client.get(address, headers=archive)
        assert (await client.get(address, headers=viewer)).status_code == 200
        assert (await client.get("/metrics", headers=prometheus)).status_code == 200
        assert (await client.post("/v1/grade", files=study, headers=viewer)).status_code == 403
        assert (await client.get("/metrics", headers=viewer)).status_code == 403
        for each in (archive, viewer, prometheus):
            assert (await client.get("/v1/models", headers=each)).status_code == 200
    assert forbidden.status_code == 403
    assert forbidden.json()["detail"] == "The scope 'read' is needed."
    told = [(line["who"], line["action"], line["outcome"]) for line in audited(data_dir)]
    assert told == [
        ("key:archive", "grade", "ok"),
        ("key:archive", "enter read", "forbidden"),
        ("key:viewer", "read result.json", "ok"),
        ("key:viewer", "enter grade", "forbidden"),
        ("key:viewer", "enter metrics", "forbidden"),
    ]


async def test_keys_are_made_and_revoked_while_the_server_runs(open_client: OpenClient, keys: KeyFile) -> None:
    async with open_client(door="on") as client:
        key = bearer(keys.create("archive", EVERYTHING))
        assert (await client.get("/metrics", headers=key)).status_code == 200
        keys.revoke("archive")
        assert (await client.get("/metrics", headers=key)).status_code == 401


async def test_what_is_not_the_key_is_refused(open_client: OpenClient, keys: KeyFile) -> None:
    token = keys.create("archive", EVERYTHING)
    public = token.rsplit("_", 1)[0] if token.count("_") == 2 else token[:15]
    wrong = [
        f"Bearer {token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
        f"Bearer {public}_{'A' * 43}",
        f"Bearer dg_{'0' * 12}_{'A' * 43}",
        f"Bearer {token}x",
        f"Basic {token}",
        token,
        "Bearer",
        "Bearer dg_",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "",
    ]
    async with open_client(door="on") as client:
        for authorization in wrong:
            answer = await client.get("/metrics", headers={"Authorization": authorization})
            assert answer.status_code == 401, authorization
        assert (await client.get("/metrics", headers={"authorization": f"bearer {token}"})).status_code == 200


async def test_the_file_holds_no_secret(keys: KeyFile, data_dir: Path) -> None:
    token = keys.create("archive", frozenset({Scope.READ}), "5/minute")
    text = (data_dir / "keys.json").read_text()
    assert token not in text
    assert token[-43:] not in text
    assert hashlib.sha256(token.encode()).hexdigest() in text
    assert (data_dir / "keys.json").stat().st_mode & 0o777 == 0o600
    (key,) = keys.all()
    assert (key.name, set(key.scopes), key.rate) == ("archive", {Scope.READ}, "5/minute")


async def test_a_damaged_file_admits_nobody(open_client: OpenClient, keys: KeyFile, data_dir: Path) -> None:
    key = bearer(keys.create("archive", EVERYTHING))
    async with open_client(door="on") as client:
        assert (await client.get("/metrics", headers=key)).status_code == 200
        (data_dir / "keys.json").write_text('{"version": 1, "keys": [{}]}')
        assert (await client.get("/metrics", headers=key)).status_code == 401
    with pytest.raises(ServiceError, match="damaged"):
        keys.all()


def test_names_are_unique_and_plain(keys: KeyFile) -> None:
    keys.create("archive", EVERYTHING)
    with pytest.raises(Conflict):
        keys.create("archive", EVERYTHING)
    with pytest.raises(NotFound):
        keys.revoke("viewer")
    for name, scopes, rate in [
        ("", EVERYTHING, None),
        ("Erika Mustermann", EVERYTHING, None),
        ("a" * 65, EVERYTHING, None),
        ("b", frozenset[Scope](), None),
        ("c", EVERYTHING, "often"),
    ]:
        with pytest.raises(ValidationError):
            keys.create(name, scopes, rate)
    assert [key.name for key in keys.all()] == ["archive"]


async def test_each_key_has_its_own_rate(open_client: OpenClient, keys: KeyFile, data_dir: Path) -> None:
    slow = bearer(keys.create("slow", EVERYTHING, "2/hour"))
    usual = bearer(keys.create("usual", EVERYTHING))
    async with open_client(door="on", rate_limit="4/hour") as client:
        assert [(await client.get("/metrics", headers=slow)).status_code for _ in range(4)] == [200, 200, 429, 429]
        assert [(await client.get("/metrics", headers=usual)).status_code for _ in range(5)] == [200] * 4 + [429]
        limited = await client.get("/metrics", headers=slow)
    assert limited.json()["type"] == "urn:discgrade:problem:rate-limited"
    assert 3500 < int(limited.headers["retry-after"]) <= 3600
    assert {(line["who"], line["outcome"]) for line in audited(data_dir)} == {
        ("key:slow", "rate-limited"),
        ("key:usual", "rate-limited"),
    }


async def test_a_flood_of_refusals_does_not_fill_the_log(open_client: OpenClient, data_dir: Path) -> None:
    async with open_client(door="on") as client:
        for _ in range(40):
            assert (await client.get("/v1/models")).status_code == 401
    assert len(audited(data_dir)) == 30


async def test_access_tokens_open_it_too(
    open_client: OpenClient, issuer: LocalIssuer, keys: KeyFile, data_dir: Path, study: Parts
) -> None:
    key = bearer(keys.create("viewer", frozenset({Scope.READ})))
    async with open_client(door="on", oidc_issuer=issuer.url, rate_limit="2/hour") as client:
        graded = await client.post("/v1/grade", files=study, headers=bearer(issuer.token()))
        assert graded.status_code == 201
        assert (await client.get(graded.headers["location"], headers=bearer(issuer.token()))).status_code == 403
        assert (await client.get(graded.headers["location"], headers=key)).status_code == 200
        expired = await client.get("/v1/models", headers=bearer(issuer.token(exp=1_600_000_000)))
        limited = await client.get("/v1/models", headers=bearer(issuer.token()))
    assert expired.status_code == 401
    assert limited.status_code == 429  # whatever the token, it is the same caller
    assert audited(data_dir)[0]["who"] == "oidc:archive"


async def test_a_refused_body_is_not_kept(open_client: OpenClient, study: Parts, data_dir: Path) -> None:
    async with open_client(door="on") as client:
        await client.post("/v1/grade", files=study)
    kept = [path for folder in ("spool", "results") for path in (data_dir / folder).rglob("*") if path.is_file()]
    assert kept == []


@pytest.mark.parametrize(
    ("host", "door", "guarded"),
    [
        ("127.0.0.1", "auto", False),
        ("127.8.8.8", "auto", False),
        ("::1", "auto", False),
        ("localhost", "auto", False),
        ("0.0.0.0", "auto", True),
        ("::", "auto", True),
        ("", "auto", True),
        ("192.0.2.1", "auto", True),
        ("127.0.0.1", "on", True),
        ("0.0.0.0", "off", False),
    ],
)
def test_it_is_on_where_others_may_knock(keys: KeyFile, data_dir: Path, host: str, door: str, guarded: bool) -> None:
    settings = Settings(data_dir=data_dir, door=DoorMode(door))
    if guarded:
        with pytest.raises(Unauthenticated, match="no API key and no issuer"):
            decided(settings, host)
        keys.create("archive", EVERYTHING)
    assert decided(settings, host).door is (DoorMode.ON if guarded else DoorMode.OFF)
    assert decided(settings.model_copy(update={"oidc_issuer": "https://issuer.example"}), host).door is not None


def test_an_issuer_is_reached_over_tls(data_dir: Path) -> None:
    with pytest.raises(ValidationError, match="https"):
        Settings(data_dir=data_dir, oidc_issuer="http://issuer.example")


async def test_every_answer_tells_browsers_to_be_careful(open_client: OpenClient) -> None:
    async with open_client() as client:
        for path in ("/livez", "/v1/models", "/nowhere", "/docs", "/metrics"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert ("script-src" in headers["content-security-policy"]) == (path == "/docs")
            assert "strict-transport-security" not in headers
        assert "strict-transport-security" in (await client.get("https://test/livez")).headers


async def test_no_other_site_may_read_or_write(open_client: OpenClient, study: Parts, data_dir: Path) -> None:
    async with open_client() as client:
        preflight = await client.options(
            "/v1/grade", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        )
        read = await client.get("/v1/models", headers={"Origin": "https://evil.example"})
        written = await client.post("/v1/grade", files=study, headers={"Sec-Fetch-Site": "cross-site"})
        own = await client.post("/v1/grade", files=study, headers={"Sec-Fetch-Site": "same-origin"})
    assert preflight.status_code == 405
    for answer in (preflight, read):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert written.status_code == 403
    assert written.json()["request_id"]
    assert own.status_code == 201
