"""Access tokens, against a real issuer on this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from discgrade.errors import IssuerUnavailable, Unauthenticated
from gateway.door import Scope
from gateway.door.oidc import Issuer
from tests.support.issuer import LocalIssuer, local_issuer

ALGORITHMS = ("RS256", "ES256")


@pytest.fixture
def local() -> Iterator[LocalIssuer]:
    with local_issuer() as running:
        yield running


def trusting(local: LocalIssuer, **options: Any) -> Issuer:
    return Issuer(local.url, "discgrade", ALGORITHMS, "scope", **{"cooldown_seconds": 0.0, **options})


async def test_a_token_names_its_subject_and_its_scopes(local: LocalIssuer) -> None:
    principal = await trusting(local).verify(local.token(scope="openid discgrade:grade discgrade:read discgrade:fly"))
    assert principal.name == "oidc:archive"
    assert principal.scopes == {Scope.GRADE, Scope.READ}


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        (["discgrade:jobs", "other:grade", 7], {Scope.JOBS}),
        ("grade read", set()),
        (None, set()),
        ({"discgrade:grade": True}, set()),
    ],
)
async def test_only_scopes_that_name_this_service_count(local: LocalIssuer, claim: Any, scopes: set[Scope]) -> None:
    assert (await trusting(local).verify(local.token(scope=claim))).scopes == scopes


async def test_the_keys_are_fetched_once(local: LocalIssuer) -> None:
    issuer = trusting(local)
    for _ in range(5):
        await issuer.verify(local.token())
    assert local.fetches == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_rotated_key_is_found_and_the_old_one_forgotten(local: LocalIssuer, algorithm: str) -> None:
    issuer = trusting(local)
    old = local.token()
    await issuer.verify(old)
    local.rotate("second", algorithm)
    assert (await issuer.verify(local.token())).name == "oidc:archive"
    with pytest.raises(Unauthenticated):
        await issuer.verify(old)


async def test_forged_key_names_do_not_make_it_fetch_each_time(local: LocalIssuer) -> None:
    issuer = trusting(local, cooldown_seconds=3600.0)
    await issuer.verify(local.token())
    published = list(local.published)
    local.rotate("forged")
    local.published = published
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await issuer.verify(local.token())
    assert local.fetches == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another service"},
        {"aud": None},
        {"iss": "http://127.0.0.1:9"},
        {"exp": 1_600_000_000},
        {"exp": None},
        {"iat": None},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 129},
    ],
    ids=str,
)
async def test_a_token_for_others_or_another_time_is_refused(local: LocalIssuer, claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await trusting(local).verify(local.token(**claims))


async def test_clocks_may_differ_a_little(local: LocalIssuer) -> None:
    just_expired = local.token(exp=int(time.time()) - 5)
    await trusting(local, leeway_seconds=600.0).verify(just_expired)
    with pytest.raises(Unauthenticated, match="expired"):
        await trusting(local, leeway_seconds=0.0).verify(just_expired)


def symmetric(claims: dict[str, Any], secret: bytes) -> str:
    """A token that is signed with the public key as if it were a shared secret; PyJWT itself would not make it."""
    header = {"alg": "HS256", "kid": "first"}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def test_unsigned_and_symmetric_tokens_are_refused(local: LocalIssuer) -> None:
    issuer = trusting(local)
    await issuer.verify(local.token())
    claims = jwt.decode(local.token(), options={"verify_signature": False})
    key, _ = local._keys["first"]
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forgeries = [
        jwt.encode(claims, "", algorithm="none", headers={"kid": "first"}),
        symmetric(claims, public),  # the classic confusion of key kinds
        jwt.encode(claims, key, algorithm="RS512", headers={"kid": "first"}),  # genuine, but not on the list
        jwt.encode(claims, key, algorithm="RS256"),  # no key named
        local.token()[:-4] + "AAAA",
        "a.b.c",
        "nonsense",
        "x" * 9000,
    ]
    for forgery in forgeries:
        with pytest.raises(Unauthenticated):
            await issuer.verify(forgery)


async def test_an_issuer_that_fails_is_no_refusal(local: LocalIssuer) -> None:
    issuer = trusting(local)
    local.answer_with = 500
    with pytest.raises(IssuerUnavailable):
        await issuer.verify(local.token())
    local.answer_with = 200
    assert (await issuer.verify(local.token())).name == "oidc:archive"


async def test_known_keys_outlast_an_outage(local: LocalIssuer) -> None:
    issuer = trusting(local)
    await issuer.verify(local.token())
    local.answer_with = 500
    await issuer.verify(local.token())


@pytest.mark.parametrize(
    "configuration",
    [{"issuer": "https://else.example"}, {"jwks_uri": "http://example.com/keys"}, {"jwks_uri": 5}],
    ids=str,
)
async def test_a_configuration_that_leads_elsewhere_is_not_followed(
    local: LocalIssuer, configuration: dict[str, Any]
) -> None:
    local.configuration = configuration
    with pytest.raises(IssuerUnavailable):
        await trusting(local).verify(local.token())
    assert local.fetches == 0
