"""A process of `test_many_processes`: gets tokens as the program does, and says how that went.

Its argument is JSON; then each line it reads is one task: how many tasks want the token at once,
after the time of the former one has passed. It answers with the tokens that they got, or with why
there are none.
"""

import asyncio
import os
import sys
from functools import partial

import orjson
from typing_extensions import override

from proxy.errors import ProxyError
from proxy.oauth2.client_authentication import NoAuthentication
from proxy.oauth2.discovery import StaticMetadata
from proxy.oauth2.endpoint import TokenEndpoint, TokenParameters
from proxy.oauth2.grants import ClientCredentials
from proxy.oauth2.refresh_grant import RefreshTokenFetcher
from proxy.oauth2.shared_tokens import SharedTokenSlot
from proxy.oauth2.token_source import Fetch, TokenSource
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from proxy.security.key_ring import KeyRing
from proxy.store.client.connections import connect
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.support.manual_clock import ManualClock

HOUR = 3_600_000
WITHIN = 60_000


class Unsynchronised(RedisTokens):
    """A negative control: everybody has the turn, and nobody sees what others have stored."""

    @override
    async def begin(self, key: str, owner: str, within: int) -> bool:
        return True

    @override
    async def load(self, key: str) -> None:
        return None


class StoringLate(RedisTokens):
    """A negative control: a rotated refresh token is stored before its next use, not the first."""

    _late: tuple[str, str, str] | None = None

    @override
    async def rotate(self, key: str, old: str, new: str, *, system: str) -> bool:
        self._late = key, old, new
        return True

    @override
    async def begin_use(self, key: str, owner: str, within: int) -> bool:
        if self._late is not None:
            await super().rotate(*self._late, system="desk")
        return await super().begin_use(key, owner, within)


KINDS = {"sound": RedisTokens, "unsynchronised": Unsynchronised, "storing late": StoringLate}


async def main() -> None:
    """Serve the lines of standard input."""
    asked = orjson.loads(sys.argv[1])
    client = connect(asked["redis_url"])
    store = RequestStore(client, namespace=asked["namespace"], partitions=1)
    tokens = KINDS[asked["kind"]](store, KeyRing([("one", bytes(32))]))
    clock = ManualClock()
    async with Outbound(loopback=True) as outbound:

        def connection(url: str) -> Destination:
            return outbound.destination(
                "token", origins=[url], deadline=20_000, concurrency=1, credential=NoCredential()
            )

        endpoint = TokenEndpoint(
            connect=connection,
            metadata=StaticMetadata("", asked["token_url"], ""),
            authentications=[NoAuthentication("proxy")],
            clock=clock,
            parameters=TokenParameters(extra={"pid": str(os.getpid())}),
        )
        fetch: Fetch = partial(endpoint.ask, ClientCredentials())
        if asked["grant"] == "refresh_token":
            fetch = RefreshTokenFetcher(
                ask=endpoint.ask, tokens=tokens, key=asked["key"], system="desk", within=WITHIN
            )
        source = TokenSource(
            fetch=fetch,
            clock=clock,
            dice=lambda: 0.5,
            name="desk",
            slot=SharedTokenSlot(store=tokens, key=asked["key"], within=WITHIN),
        )
        while line := await asyncio.to_thread(sys.stdin.readline):
            clock.advance(HOUR)  # as long as a token lives
            answers = await asyncio.gather(*[_wanted(source) for _ in range(int(line))])
            sys.stdout.write(orjson.dumps(sorted(set(answers))).decode() + "\n")
            sys.stdout.flush()
    await store.batcher.close()
    await client.aclose()


async def _wanted(source: TokenSource) -> str:
    try:
        return (await source.headers("https://desk.example.com/"))["Authorization"]
    except ProxyError as error:
        return f"none: {error}"


if __name__ == "__main__":
    asyncio.run(main())
