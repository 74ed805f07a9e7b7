"""The whole way of a token: an API that wants one, the server that issues it, us between them."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from aiohttp import web
from joserfc.jwk import ECKey

from proxy.oauth2.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    PrivateKeyJwt,
)
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.grants import ClientCredentials
from proxy.oauth2.shared_tokens import SharedTokenSlot
from proxy.oauth2.token_source import TokenSource
from proxy.outbound.client import Outbound
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, Response
from proxy.security.private_keys import SigningKey
from tests.oauth2.strict_server import CLIENT, StrictServer, token_endpoint
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, serving, towards

SECRET = "canary-secret"
BASIC = ClientSecretBasic(CLIENT, lambda: SECRET)
KEY = ECKey.generate_key("P-256")
SIGNED = PrivateKeyJwt(CLIENT, lambda: SigningKey(KEY, "ES256", "k1"))


@dataclass
class Chain:
    """A ticket system's API, its authorization server, and what the program uses between them.

    `server` says what `issuing` answers; the API refuses what is in `revoked`.
    """

    outbound: Outbound
    clock: ManualClock
    server: StrictServer
    issuing: System
    api: System
    source: TokenSource
    http: Destination
    revoked: set[str] = field(default_factory=set)

    async def call(self) -> Response:
        """Call the API and return its answer, whatever the status."""
        return await self.http.send(Call("GET", f"{self.api.origin}/ticket"), repeatable=True)

    async def token(self) -> str:
        """Call the API and return the token that it took."""
        assert (await self.call()).status == 200
        return self.api.calls[-1].headers["Authorization"].removeprefix("Bearer ")

    async def renewed(self) -> None:
        """Wait for the renewal in the background."""
        assert self.source._in_flight is not None
        await self.source._in_flight

    def another_source(
        self, *authentications: ClientAuthentication, kept: SharedTokenSlot | None
    ) -> TokenSource:
        """Return another source of tokens, as another process has it."""
        return _source(self.outbound, self.issuing, self.clock, *authentications, kept=kept)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as the API does."""
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return web.Response(status=401 if token in self.revoked else 200)


@asynccontextmanager
async def open_chain(
    server: StrictServer, clock: ManualClock, *authentications: ClientAuthentication, **how: Any
) -> AsyncIterator[Chain]:
    """Run both servers; `how` is for the token endpoint, such as `asked`."""
    async with Outbound(loopback=True) as outbound, serving(server) as issuing, serving() as api:
        source = _source(outbound, issuing, clock, *authentications, **how)
        http = towards(outbound, api.origin, credential=source)
        chain = Chain(outbound, clock, server, issuing, api, source, http)
        api.respond = chain.serve
        yield chain


def _source(
    outbound: Outbound,
    issuing: System,
    clock: ManualClock,
    *authentications: ClientAuthentication,
    kept: SharedTokenSlot | None = None,
    dpop: Dpop | None = None,
    **how: Any,
) -> TokenSource:
    at = f"{issuing.origin}/token"
    endpoint = token_endpoint(outbound, at, *authentications, clock=clock, dpop=dpop, **how)
    fetch = partial(endpoint.ask, ClientCredentials())
    return TokenSource(
        fetch=fetch, clock=clock, dice=lambda: 0.0, name="desk", slot=kept, dpop=dpop
    )


class OpenChain(Protocol):
    """Opens a chain for a client that proves itself so; by default with a secret in Basic."""

    def __call__(
        self, *authentications: ClientAuthentication, **how: Any
    ) -> AbstractAsyncContextManager[Chain]: ...
