"""Refresh tokens that are good for one use: never used twice, stored before what came with them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from typing_extensions import override

from proxy.errors import ConfigurationError, StoreUnavailableError, TemporaryError
from proxy.oauth2.grants import Grant, RefreshToken
from proxy.oauth2.refresh_grant import RefreshTokenFetcher
from proxy.oauth2.tokens import Token, TokenRefused
from proxy.security.key_ring import KeyRing
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens

KEY = "k"
GONE = TokenRefused("the endpoint answered 400 (invalid_grant)", code="invalid_grant")


class Tokens(RedisTokens):
    """The real ones, whose next writes of a rotated token fail as often as `lost` says."""

    lost = 0

    @override
    async def rotate(self, key: str, old: str, new: str, *, system: str) -> bool:
        if self.lost:
            self.lost -= 1
            raise StoreUnavailableError("the store does not answer")
        return await super().rotate(key, old, new, system=system)


class Server:
    """Rotates with each use; the second use of a token ends the login (RFC 9700 4.14.2)."""

    def __init__(self, *, rotates: bool = True) -> None:
        self.good: str | None = "r0"
        self.used = 0
        self.asked: list[tuple[str, str]] = []
        self.fails: list[Exception] = []
        self._rotates = rotates

    async def ask(self, grant: Grant) -> Token:
        assert isinstance(grant, RefreshToken)
        self.asked.append((grant.token, grant.redirect_uri))
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)
        if grant.token != self.good:
            self.good = None
            raise GONE
        self.used += 1
        if self._rotates:
            self.good = f"r{self.used}"
        return Token(f"a{self.used}", 0, 60_000, self.good if self._rotates else "")


@pytest.fixture
def tokens(store: RequestStore) -> Tokens:
    return Tokens(store, KeyRing([("one", b"k" * 32)]))


@pytest.fixture
def server() -> Server:
    return Server()


Make = Callable[..., RefreshTokenFetcher]


@pytest.fixture
async def refreshing(server: Server, tokens: Tokens) -> Make:
    """Make the fetch of one process; somebody has logged in."""
    await tokens.put(KEY, "r0", system="desk", by="olga")

    async def no_pause(_milliseconds: int) -> None:
        await asyncio.sleep(0)

    def make(
        *, sleep: Callable[[int], Awaitable[None]] = no_pause, redirect_uri: str = ""
    ) -> RefreshTokenFetcher:
        return RefreshTokenFetcher(
            ask=server.ask,
            tokens=tokens,
            key=KEY,
            system="desk",
            within=60_000,
            redirect_uri=redirect_uri,
            sleep=sleep,
        )

    return make


async def test_each_use_takes_the_token_of_the_one_before(
    refreshing: Make, server: Server, tokens: Tokens
) -> None:
    fetch = refreshing(redirect_uri="https://proxy.example.com/callback")

    assert [(await fetch()).value for _ in range(3)] == ["a1", "a2", "a3"]

    uri = "https://proxy.example.com/callback"
    assert server.asked == [("r0", uri), ("r1", uri), ("r2", uri)]
    current = await tokens.current(KEY)
    assert current is not None
    assert (current.value, current.sent) == ("r3", False)


async def test_where_no_new_one_comes_the_old_one_stays(tokens: Tokens) -> None:
    server = Server(rotates=False)
    await tokens.put(KEY, "r0", system="desk", by="olga")
    fetch = RefreshTokenFetcher(
        ask=server.ask, tokens=tokens, key=KEY, system="desk", within=60_000
    )

    await fetch()
    await fetch()

    assert [token for token, _ in server.asked] == ["r0", "r0"]
    current = await tokens.current(KEY)
    assert current is not None
    assert (current.value, current.sent) == ("r0", False)


async def test_processes_at_the_same_time_take_turns(refreshing: Make, server: Server) -> None:
    """Without turns the reuse would end the login: that is how the server above is made."""
    fetches = [refreshing() for _ in range(5)]

    found = await asyncio.gather(*[fetch() for fetch in fetches for _ in range(1)])

    assert sorted(token.value for token in found) == ["a1", "a2", "a3", "a4", "a5"]
    assert server.good == "r5"


async def test_a_turn_that_never_ends_is_not_waited_for_for_ever(
    refreshing: Make, tokens: Tokens
) -> None:
    await tokens.begin_use(KEY, "another process", 60_000)
    slept = 0

    async def sleep(milliseconds: int) -> None:
        nonlocal slept
        slept += milliseconds

    with pytest.raises(TemporaryError, match="in use by another process") as caught:
        await refreshing(sleep=sleep)()

    assert not caught.value.maybe_sent
    assert 60_000 <= slept < 62_000


async def test_the_access_token_waits_until_its_refresh_token_is_stored(
    refreshing: Make, server: Server, tokens: Tokens
) -> None:
    fetch = refreshing()
    tokens.lost = 2

    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await fetch()
    current = await tokens.current(KEY)
    assert current is not None
    assert (current.value, current.sent) == ("r0", True)

    assert (await fetch()).value == "a1"
    assert server.used == 1
    current = await tokens.current(KEY)
    assert current is not None
    assert (current.value, current.sent) == ("r1", False)


async def test_before_a_login_it_says_how_to_log_in(refreshing: Make) -> None:
    fetch = refreshing()
    fetch.key = "nobody was here"

    with pytest.raises(ConfigurationError, match="nobody has logged in to desk yet") as caught:
        await fetch()

    assert "approval-proxy login desk" in str(caught.value)


async def test_a_login_meanwhile_is_used_at_once(
    refreshing: Make, server: Server, tokens: Tokens
) -> None:
    fetch = refreshing()
    server.good = "of a new login"
    ask = server.ask

    async def while_somebody_logs_in(_grant: Grant) -> Token:
        await tokens.put(KEY, "of a new login", system="desk", by="olga")
        fetch.ask = ask
        raise GONE

    fetch.ask = while_somebody_logs_in

    assert (await fetch()).value == "a1"
    assert [token for token, _ in server.asked] == ["of a new login"]


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ([], "has ended or was revoked"),
        ([TemporaryError("no answer", maybe_sent=True)], "used before, and the answer"),
    ],
)
async def test_a_login_that_is_over_says_so_and_why(
    before: list[Exception], why: str, refreshing: Make, server: Server, tokens: Tokens
) -> None:
    """The documented window: killed, or cut off, between the server's answer and our storing it."""
    fetch = refreshing()
    server.fails = list(before)
    for _ in before:
        with pytest.raises(TemporaryError):
            await fetch()
    server.good = None

    with pytest.raises(ConfigurationError, match="run approval-proxy login desk") as caught:
        await fetch()

    assert why in str(caught.value)
    assert "invalid_grant" in str(caught.value)
    assert "r0" not in str(caught.value)
    await tokens.put(KEY, "r9", system="desk", by="olga")  # a person logs in
    server.good = "r9"
    assert (await fetch()).value == "a1"


@pytest.mark.parametrize(
    ("failure", "noted"),
    [
        (TemporaryError("no connection", maybe_sent=False), "not sent"),
        (TemporaryError("no answer", maybe_sent=True), "sent"),
        (TokenRefused("wrong secret", code="invalid_client"), "not sent"),
    ],
)
async def test_only_a_use_in_doubt_stays_noted(
    failure: Exception, noted: str, refreshing: Make, server: Server, tokens: Tokens
) -> None:
    fetch = refreshing()
    server.fails = [failure]

    with pytest.raises((TemporaryError, ConfigurationError)) as caught:
        await fetch()

    if isinstance(caught.value, TemporaryError):
        assert not caught.value.maybe_sent  # nothing of the API was asked
    current = await tokens.current(KEY)
    assert current is not None
    assert (current.value, current.sent) == ("r0", noted == "sent")
    assert (await fetch()).value == "a1"  # the server had not used it up: nothing is lost


async def test_no_secret_is_shown(refreshing: Make, tokens: Tokens) -> None:
    fetch = refreshing()
    tokens.lost = 1
    with pytest.raises(StoreUnavailableError):
        await fetch()

    assert fetch._unstored is not None
    assert "unstored" not in repr(fetch)
    assert "a1" not in repr(fetch._unstored)
    assert "r1" not in repr(fetch._unstored)
