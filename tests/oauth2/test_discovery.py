"""Finding a token endpoint through its issuer: which documents are believed, and for how long."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.client_authentication import ClientSecretBasic
from proxy.oauth2.discovery import ASKED_AGAIN, KEPT, Discovery, Metadata, StaticMetadata
from proxy.oauth2.grants import ClientCredentials
from proxy.outbound.client import Outbound
from tests.oauth2.strict_server import CLIENT, StrictServer, connecting, document, token_endpoint
from tests.support.certificates import Authority
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, always, drop, serving

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


class Published:
    """Answers the paths it is told, 404 everywhere else."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        found = self.documents.get(request.path)
        if found is None:
            return web.Response(status=404)
        if isinstance(found, web.Response):
            return web.Response(status=found.status, body=found.body, headers=found.headers)
        return web.json_response(found)


def asked(system: System) -> list[str]:
    return [call.path for call in system.calls]


@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("", [OAUTH, OPENID]),
        ("/", [OAUTH, OPENID]),
        ("/realms/x", [f"{OAUTH}/realms/x", f"/realms/x{OPENID}"]),
        ("/realms/x/", [f"{OAUTH}/realms/x", f"/realms/x{OPENID}"]),
    ],
)
@pytest.mark.parametrize("published", [0, 1])
async def test_both_places_are_looked_at(
    system: System, outbound: Outbound, path: str, places: list[str], published: int
) -> None:
    """Checklist 14: RFC 8414 3.1 inserts the path, OpenID Connect Discovery 4 appends to it."""
    issuer = system.origin + path
    system.respond = Published({places[published]: document(issuer)})
    metadata = await Discovery(connecting(outbound), issuer, ManualClock()).server()
    assert metadata == Metadata(issuer=issuer, token_endpoint=f"{issuer.rstrip('/')}/token")
    assert asked(system) == places[: published + 1]
    assert {call.headers["Accept"] for call in system.calls} == {"application/json"}


@pytest.mark.parametrize(
    "first",
    [
        web.Response(body=b"<html>everything is a page here</html>"),
        web.Response(body=b""),
        web.Response(body=b"[]"),
        web.Response(body=b"{}"),
        web.Response(body=b'{"issuer": "https://somebody.else.example"}'),
        web.Response(status=302, headers={"Location": "https://somebody.else.example/"}),
        web.Response(status=403),
        web.Response(status=500),
        web.Response(body=b'{"x": "' + b"x" * 70_000 + b'"}'),
    ],
)
async def test_who_answers_beside_the_issuers_path_is_not_in_the_way(
    system: System, outbound: Outbound, first: web.Response
) -> None:
    """The RFC 8414 place lies outside the issuer's path, where others may answer as they like."""
    issuer = f"{system.origin}/realms/x"
    openid = f"/realms/x{OPENID}"
    system.respond = Published({f"{OAUTH}/realms/x": first, openid: document(issuer)})
    metadata = await Discovery(connecting(outbound), issuer, ManualClock()).server()
    assert metadata.token_endpoint == f"{issuer}/token"
    assert len(system.calls) == 2


@pytest.mark.parametrize(
    "told",
    [
        None,
        "",
        5,
        ["{issuer}"],
        "{issuer}/",
        "{upper}",
        "{issuer}?x",
        "https://as.example.com",
    ],
)
async def test_a_document_of_another_issuer_is_not_believed(
    system: System, outbound: Outbound, told: Any
) -> None:
    """Checklist 14: RFC 8414 3.3 wants the same text, not the same meaning."""
    issuer = f"{system.origin}/realm"
    if isinstance(told, str):
        told = told.format(issuer=issuer, upper=issuer.upper())
    if isinstance(told, list):
        told = [issuer]
    bad = document(issuer) | {"issuer": told}
    system.respond = Published({f"{OAUTH}/realm": bad, f"/realm{OPENID}": bad})
    with pytest.raises(ConfigurationError, match="another issuer"):
        await Discovery(connecting(outbound), issuer, ManualClock()).server()


async def test_a_document_is_kept_for_an_hour(
    system: System, outbound: Outbound, clock: ManualClock
) -> None:
    """Checklist 14: and a changed one counts after that."""
    system.respond = Published({OAUTH: document(system.origin)})
    discovery = Discovery(connecting(outbound), system.origin, clock)
    first = await discovery.server()
    clock.advance(KEPT - 1)
    assert await discovery.server() is first
    assert len(system.calls) == 1
    moved = f"{system.origin}/moved"
    system.respond = Published({OAUTH: document(system.origin, token_endpoint=moved)})
    clock.advance(1)
    assert (await discovery.server()).token_endpoint == moved
    assert len(system.calls) == 2


@pytest.mark.parametrize(
    "failing",
    [
        drop,
        always(500),
        always(404),
        always(200, body=b"<html>"),
        always(200, body=b'{"issuer": "https://evil.example", "token_endpoint": "https://evil"}'),
        always(302, headers={"Location": "/"}),
        always(200, body=b"x" * 70_000),
    ],
)
async def test_the_last_good_document_is_used_while_none_can_be_had(
    system: System, outbound: Outbound, clock: ManualClock, failing: Any
) -> None:
    """Checklist 14: asked again after a minute, not for each token."""
    good = Published({OAUTH: document(system.origin)})
    system.respond = good
    discovery = Discovery(connecting(outbound), system.origin, clock)
    known = await discovery.server()
    system.respond = failing
    for _ in range(3):
        clock.advance(KEPT)
        before = len(system.calls)
        assert await discovery.server() is known
        tried = len(system.calls)
        assert tried > before
        clock.advance(ASKED_AGAIN - 1)
        assert await discovery.server() is known
        assert len(system.calls) == tried
    system.respond = good
    clock.advance(1)
    assert await discovery.server() == known
    assert len(system.calls) == tried + 1


@pytest.mark.parametrize(
    ("failing", "pause", "said"),
    [
        (always(503, headers={"Retry-After": "9"}), 9_000, "answered 503"),
        (always(429, headers={"Retry-After": "120"}), 120_000, "answered 429"),
        (always(500), None, "answered 500"),
        (drop, None, "the answer was lost"),
        (always(200, body=b"x" * 70_000), None, "longer than"),
    ],
)
async def test_an_issuer_that_cannot_answer_now_is_asked_again(
    system: System, outbound: Outbound, failing: Any, pause: int | None, said: str
) -> None:
    """Checklist 5: `sent` is False, for the call that needs the token did not go out."""
    system.respond = failing
    discovery = Discovery(connecting(outbound), system.origin, ManualClock())
    with pytest.raises(TemporaryError, match=said) as caught:
        await discovery.server()
    assert (caught.value.retry_after, caught.value.maybe_sent) == (pause, False)
    system.respond = Published({OPENID: document(system.origin)})
    assert (await discovery.server()).issuer == system.origin


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 410])
async def test_an_issuer_that_tells_nothing_is_a_matter_of_configuration(
    system: System, outbound: Outbound, status: int
) -> None:
    async with serving() as elsewhere:
        target = f"{elsewhere.origin}{OAUTH}"
        system.respond = always(status, headers={"Location": target})
        with pytest.raises(ConfigurationError, match="set `token_url`"):
            await Discovery(connecting(outbound), system.origin, ManualClock()).server()
        assert elsewhere.calls == []


async def test_fixed_endpoints_are_what_the_settings_say() -> None:
    metadata = await StaticMetadata("", "https://x/token", "https://x/authorize").server()
    assert (metadata.issuer, metadata.token_endpoint) == ("", "https://x/token")
    assert metadata.authorization_endpoint == "https://x/authorize"


async def test_a_token_comes_from_where_the_issuer_says(
    system: System, outbound: Outbound, clock: ManualClock
) -> None:
    """Checklist 13: the endpoint may be at another origin, which gets a destination of its own."""
    async with serving(StrictServer(secrets=["s"])) as other:
        moved = f"{other.origin}/token"
        system.respond = Published({OAUTH: document(system.origin, token_endpoint=moved)})
        discovery = Discovery(connecting(outbound), system.origin, clock)
        ask = token_endpoint(outbound, discovery, ClientSecretBasic(CLIENT, lambda: "s"))
        assert [(await ask.ask(ClientCredentials())).value for _ in range(2)] == [
            "token-1",
            "token-2",
        ]
    assert (len(system.calls), len(other.calls)) == (1, 2)


async def test_an_issuer_behind_tls_cannot_send_our_secret_in_clear(
    tmp_path: Path, outbound: Outbound, clock: ManualClock
) -> None:
    """Checklist 14: over real TLS, with an http endpoint that must not be called."""
    authority = Authority.found(tmp_path)
    async with serving() as plain:
        documents: dict[str, Any] = {}
        app = web.Application()
        app.router.add_get("/{path:.*}", Published(documents).answer)
        server = TestServer(app, scheme="https")
        await server.start_server(ssl=authority.server(tmp_path).server())
        try:
            issuer = f"https://127.0.0.1:{server.port}"
            documents[OAUTH] = document(issuer, token_endpoint=f"{plain.origin}/token")
            connect = connecting(outbound, ca_file=authority.ca_file)
            discovery = Discovery(connect, issuer, clock)
            ask = token_endpoint(outbound, discovery, ClientSecretBasic(CLIENT, lambda: "s"))
            with pytest.raises(ConfigurationError, match="must be an https URL"):
                await ask.ask(ClientCredentials())
            documents[OAUTH] = document(issuer)
            assert (await discovery.server()).token_endpoint == f"{issuer}/token"
            with pytest.raises(ProxyError, match="not trusted"):
                await Discovery(connecting(outbound), issuer, clock).server()
        finally:
            await server.close()
        assert plain.calls == []
