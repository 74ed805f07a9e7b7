"""The points of the checklist about proving who we are, and showing nothing: 8 to 15."""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.jwk import OctKey

from proxy.errors import ConfigurationError, ProxyError
from proxy.oauth2.client_authentication import ClientSecretBasic, ClientSecretJwt, ClientSecretPost
from proxy.oauth2.discovery import KEPT, Discovery
from proxy.oauth2.grants import ClientCredentials
from proxy.oauth2.shared_tokens import SharedTokenSlot, TokenIdentity
from proxy.outbound.responses import Call
from proxy.security.key_ring import KeyRing
from proxy.security.tls import Certificate
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.oauth2.chain import BASIC, SIGNED, Chain, OpenChain
from tests.oauth2.strict_server import CLIENT, ODD_SECRETS, connecting, token_endpoint
from tests.support.certificates import Authority
from tests.support.systems import always, serving

IDENTITY = TokenIdentity(issuer="i", client_id="c", grant="g")
HOUR = 3_600_000


@pytest.mark.parametrize("secret", ODD_SECRETS)
@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (ClientSecretBasic, "client_secret_basic"),
        (ClientSecretPost, "client_secret_post"),
        (ClientSecretJwt, "assertion"),
    ],
)
async def test_08_any_secret_proves_us_in_exactly_one_way(
    opened: OpenChain, secret: str, kind: Any, way: str
) -> None:
    """The server decodes with urllib and joserfc alone, and counts the ways."""
    secret += "-long-enough-to-sign-with-it-too"
    async with opened(kind(CLIENT, lambda: secret)) as chain:
        chain.server.secrets, chain.server.keys = [secret], [OctKey.import_key(secret)]
        assert await chain.token() == "token-1"
        assert chain.server.proofs == [way]
        assert [call.path for call in chain.issuing.calls] == ["/token"]


async def test_09_no_assertion_comes_twice(opened: OpenChain) -> None:
    """The server keeps every jti, and takes none without the right audience or over 60 s."""
    async with opened(SIGNED) as chain:
        chain.server.says = {"expires_in": 0}
        chain.server.audience = f"{chain.issuing.origin}/token"
        assert [await chain.token() for _ in range(5)] == [f"token-{n}" for n in range(1, 6)]
        chain.server.audience = "https://another.example"
        with pytest.raises(ConfigurationError, match="invalid_client"):
            await chain.call()


@pytest.mark.parametrize(
    ("trusts", "shows", "newest"),
    [
        (True, True, ssl.TLSVersion.TLSv1_3),
        (False, True, ssl.TLSVersion.TLSv1_3),
        (True, False, ssl.TLSVersion.TLSv1_3),
        (True, True, ssl.TLSVersion.TLSv1_1),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_10_tls_is_verified_on_both_sides(
    tmp_path: Path, chain: Chain, *, trusts: bool, shows: bool, newest: ssl.TLSVersion
) -> None:
    """Own CA, client certificate, and TLS 1.2 at least; reloading: tests/security/test_tls.py."""
    ours, theirs = Authority.found(tmp_path, "ours"), Authority.found(tmp_path, "theirs")
    context = theirs.server(tmp_path).server(client_ca=ours.ca_file)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    app = web.Application()
    app.router.add_post("/token", chain.issuing.serve)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    pair = ours.client(tmp_path)
    endpoint = token_endpoint(
        chain.outbound,
        f"https://127.0.0.1:{server.port}/token",
        BASIC,
        ca_file=theirs.ca_file if trusts else ours.ca_file,
        client_certificate=Certificate(pair.certificate, pair.key) if shows else None,
    )
    try:
        if trusts and shows and newest is ssl.TLSVersion.TLSv1_3:
            assert (await endpoint.ask(ClientCredentials())).value == "token-1"
        else:
            with pytest.raises(ProxyError):
                await endpoint.ask(ClientCredentials())
            assert chain.issuing.calls == []
    finally:
        await server.close()


@pytest.mark.parametrize("skew", [-300_000, 300_000])
async def test_11_five_minutes_of_skew_are_no_storm(opened: OpenChain, skew: int) -> None:
    """Against a server without tolerance: one request more; then our wall clock jumps as well."""
    async with opened(SIGNED) as chain:
        chain.server.clock.advance(skew)
        await asyncio.gather(*(chain.call() for _ in range(100)))
        assert len(chain.issuing.calls) == 2
        chain.clock._now += skew
        chain.clock.advance(HOUR - HOUR // 10 - 1)
        assert await chain.token() == "token-2"
        chain.clock.advance(HOUR // 10 + 1)
        chain.server.clock.advance(HOUR)
        assert await chain.token() != "token-2"
        assert len(chain.issuing.calls) <= 4


async def test_12_nothing_secret_is_shown(
    chain: Chain, store: RequestStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs, errors with all their causes, representations, and what the store holds."""
    caplog.set_level(logging.DEBUG)
    chain.server.says |= {"access_token": "canary-token"}
    tokens = RedisTokens(store, KeyRing([("k", b"k" * 32)]))
    source = chain.another_source(BASIC, kept=SharedTokenSlot(store=tokens, key=IDENTITY.key))
    assert "canary-token" in str(await source.headers(""))
    shown = [f"{source!r}{chain.source!r}{chain.http!r}{BASIC!r}{tokens!r}"]
    chain.issuing.respond = always(400, body=b"canary-secret canary-token")
    chain.server.secrets = []
    error: BaseException | None = None
    try:
        await chain.call()
    except ConfigurationError as caught:
        error = caught
    assert error is not None
    while error is not None:
        shown.append(f"{error!s}{error!r}")
        error = error.__cause__ or error.__context__
    names = [name async for name in store.client.scan_iter(f"{store.keys.namespace}:token:*")]
    assert len(names) == 1
    shown += [f"{name!r}{await store.client.get(name)!r}" for name in names]
    assert "canary-secret" not in "".join([*shown, caplog.text])
    assert "canary-token" not in "".join([shown[0], *shown[2:], caplog.text])


async def test_13_a_token_cannot_leave_the_origins_it_is_for(chain: Chain) -> None:
    async with serving() as elsewhere:
        with pytest.raises(ConfigurationError, match="outside the origins"):
            await chain.http.send(Call("GET", f"{elsewhere.origin}/ticket"), repeatable=True)
        assert elsewhere.calls == chain.issuing.calls == []


def test_13_whatever_makes_a_token_another_one_makes_its_key_another_one() -> None:
    others = []
    for each in fields(TokenIdentity):
        other: dict[str, Any] = {each.name: ("x",) if "tuple" in str(each.type) else "x"}
        others.append(replace(IDENTITY, **other))
    assert len({each.key for each in [IDENTITY, *others]}) == 1 + len(fields(TokenIdentity))


async def test_14_only_the_issuers_own_document_counts_and_the_last_good_one_stays(
    chain: Chain,
) -> None:
    async with serving() as issuer:
        document = {"issuer": issuer.origin, "token_endpoint": f"{chain.issuing.origin}/token"}
        discovery = Discovery(connecting(chain.outbound), issuer.origin, chain.clock)
        endpoint = token_endpoint(chain.outbound, discovery, BASIC)

        def publish(tree: dict[str, str]) -> None:
            issuer.respond = always(200, body=web.json_response(tree).body)

        publish(document | {"issuer": f"{issuer.origin}/"})
        with pytest.raises(ConfigurationError, match="another issuer"):
            await endpoint.ask(ClientCredentials())
        assert chain.issuing.calls == []
        publish(document)
        await endpoint.ask(ClientCredentials())
        publish(document | {"issuer": "https://evil.example", "token_endpoint": "https://evil"})
        chain.clock.advance(KEPT)
        await endpoint.ask(ClientCredentials())
        assert len(chain.issuing.calls) == 2


async def test_15_a_rotated_secret_is_used_without_a_restart(opened: OpenChain) -> None:
    """Read for each request; and two are live meanwhile, whichever the server knows."""
    first: list[str] = ["old"]

    def live(*secrets: str) -> Sequence[str]:
        return secrets

    both = [ClientSecretBasic(CLIENT, lambda: first[0]), ClientSecretBasic(CLIENT, lambda: "old")]
    async with opened(*both) as chain:
        chain.server.says = {"expires_in": 0}
        for ours, theirs in [
            ("old", live("old")),
            ("new", live("old")),
            ("new", live("old", "new")),
            ("new", live("new")),
        ]:
            first[0], chain.server.secrets = ours, theirs
            await chain.token()
        assert len(chain.issuing.calls) == 6
