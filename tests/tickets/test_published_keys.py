"""Tokens signed with private keys: only the keys of the configured URL count, and they rotate."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey
from pydantic import ValidationError

from proxy.errors import TemporaryError, UnauthorizedError
from proxy.outbound.client import Outbound
from proxy.settings.ticket_systems import SignedEvents
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.jwks import ASKED_AGAIN, KEPT, PublishedKeys
from proxy.tickets.events.reader import EventReader
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, always, serving, towards

SHAPE = Events.model_validate(
    {
        "auth": "jwt",
        "ticket": "id",
        "token": {
            "algorithms": ["RS256", "ES256"],
            "issuer": "https://login.example.com",
            "audience": "approval-proxy",
        },
    }
)
BODY = b'{"id": 7}'


def key_set(*keys: Key) -> Any:
    shown = [{**key.as_dict(private=False), "kid": key.kid} for key in keys]
    return always(200, body=orjson.dumps({"keys": shown}))


class Issuer:
    """Keys, where they are published, and a reader that believes them."""

    def __init__(self, system: System, keys: PublishedKeys, clock: ManualClock) -> None:
        self.system = system
        self.keys = keys
        self._clock = clock
        self._reader = EventReader(SHAPE, keys.now)

    async def take(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        await self.keys.ready(headers)
        assert self._reader.read(headers, BODY, now=self._clock.now()).refs == ("7",)

    async def refuse(self, token: str) -> None:
        with pytest.raises(UnauthorizedError):
            await self.take(token)

    def sign(self, key: Key, algorithm: str = "RS256", **header: Any) -> str:
        claims = {
            "iss": "https://login.example.com",
            "aud": "approval-proxy",
            "exp": self._clock.now() // 1_000 + 60,
        }
        head = {"alg": algorithm, "typ": "JWT", "kid": key.kid, **header}
        return jwt.encode(head, claims, key, algorithms=[algorithm])


@pytest.fixture(scope="module")
def rsa() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "one"})


@pytest.fixture
async def issuer(clock: ManualClock, rsa: RSAKey) -> AsyncIterator[Issuer]:
    async with serving(key_set(rsa)) as system, Outbound(loopback=True) as outbound:
        http = towards(outbound, system.origin)
        yield Issuer(system, PublishedKeys(http, f"{system.origin}/jwks", SHAPE, clock), clock)


async def test_a_published_key_proves_an_event_and_is_fetched_once(
    issuer: Issuer, rsa: RSAKey
) -> None:
    for _ in range(3):
        await issuer.take(issuer.sign(rsa))
    assert [call.path for call in issuer.system.calls] == ["/jwks"]


async def test_other_keys_prove_nothing_and_are_not_fetched_from_where_a_token_says(
    issuer: Issuer, rsa: RSAKey
) -> None:
    forger = RSAKey.generate_key(2048, {"kid": "one"})
    async with serving(key_set(forger)) as elsewhere:
        url = f"{elsewhere.origin}/jwks"
        for header in ({}, {"jku": url}, {"x5u": url}, {"jwk": forger.as_dict(private=False)}):
            await issuer.refuse(issuer.sign(forger, **header))
        assert elsewhere.calls == []
    await issuer.take(issuer.sign(rsa))


async def test_a_token_is_tried_with_the_key_that_it_names_and_no_other(
    issuer: Issuer, rsa: RSAKey
) -> None:
    """RFC 7515 4.1.4: both keys are published, and only one has signed."""
    other = RSAKey.generate_key(2048, {"kid": "two"})
    issuer.system.respond = key_set(rsa, other)
    await issuer.refuse(issuer.sign(rsa, kid="two"))
    await issuer.take(issuer.sign(rsa))
    await issuer.take(issuer.sign(rsa, kid=""))


async def test_a_public_key_is_never_taken_for_a_secret(issuer: Issuer, rsa: RSAKey) -> None:
    for text in (rsa.as_pem(private=False), orjson.dumps(rsa.as_dict(private=False))):
        head, claims, _ = issuer.sign(rsa).split(".")
        head = _b64(orjson.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}))
        proof = hmac.digest(text, f"{head}.{claims}".encode(), "sha256")
        await issuer.refuse(f"{head}.{claims}.{_b64(proof)}")


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_a_new_key_is_found_and_unknown_ones_cost_one_look_a_minute(
    issuer: Issuer, rsa: RSAKey, clock: ManualClock
) -> None:
    await issuer.take(issuer.sign(rsa))
    new = ECKey.generate_key("P-256", {"kid": "two"})
    for number in range(20):
        await issuer.refuse(issuer.sign(new, "ES256", kid=f"made-up-{number}"))
    assert len(issuer.system.calls) == 1
    issuer.system.respond = key_set(rsa, new)
    clock.advance(ASKED_AGAIN)
    await issuer.take(issuer.sign(new, "ES256"))
    await issuer.take(issuer.sign(rsa))
    assert len(issuer.system.calls) == 2
    issuer.system.respond = key_set(new)
    clock.advance(KEPT)
    await issuer.refuse(issuer.sign(rsa))  # withdrawn
    await issuer.take(issuer.sign(new, "ES256"))


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b'{"keys": 5}', b'{"keys": []}', b'{"keys": [{"kty": "RSA"}]}']
)
async def test_a_broken_document_leaves_the_former_keys(
    issuer: Issuer, rsa: RSAKey, clock: ManualClock, answer: bytes
) -> None:
    await issuer.take(issuer.sign(rsa))
    issuer.system.respond = always(200, body=answer)
    clock.advance(KEPT)
    await issuer.take(issuer.sign(rsa))
    assert len(issuer.system.calls) == 2


async def test_without_any_keys_the_sender_is_told_to_come_again(
    issuer: Issuer, rsa: RSAKey, clock: ManualClock
) -> None:
    respond, issuer.system.respond = issuer.system.respond, always(500)
    for _ in range(2):
        with pytest.raises(TemporaryError, match="cannot be verified yet"):
            await issuer.take(issuer.sign(rsa))
    assert len(issuer.system.calls) == 1
    issuer.system.respond = respond
    clock.advance(ASKED_AGAIN)
    await issuer.take(issuer.sign(rsa))


async def test_an_event_without_a_token_fetches_nothing(issuer: Issuer) -> None:
    await issuer.refuse("")
    assert issuer.system.calls == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"token": {"algorithms": ["RS256"]}}, "jwks_url: goes with"),
        ({"jwks_url": "https://a.example"}, "jwks_url: goes with"),
        ({"token": {"algorithms": ["HS256", "RS256"]}}, "not both"),
        (
            {"token": {"algorithms": ["RS256"]}, "jwks_url": "https://a.example"},
            "needs token.audience",
        ),
        (
            {
                "token": {"algorithms": ["RS256"], "audience": "us"},
                "jwks_url": "https://a.example",
                "secrets": ["canary"],
            },
            "no secrets",
        ),
        ({}, "empty"),
        ({"auth": "basic", "jwks_url": "https://a.example", "secrets": ["x"]}, "jwks_url: goes"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong: Mapping[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        SignedEvents.model_validate({"auth": "jwt", "ticket": "id", **wrong})
