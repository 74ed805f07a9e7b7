import asyncio
from dataclasses import dataclass, field

import pytest

from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.token_source import TokenSource
from proxy.oauth2.tokens import Token
from tests.support.manual_clock import ManualClock

URL = "https://desk.example.com/"
HOUR = 3_600_000


@dataclass
class Server:
    """Issues numbered tokens, fails while it is told to, and can be made to wait."""

    clock: ManualClock
    lifetime: int = HOUR
    asked: int = 0
    failure: ProxyError | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(self) -> Token:
        self.asked += 1
        number, sent_at = self.asked, self.clock.monotonic()
        self.waiting.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return Token(f"token-{number}", sent_at, self.lifetime)

    async def answered(self) -> None:
        """Let the renewal in the background, which has nothing to wait for, come to its end."""
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def server(clock: ManualClock) -> Server:
    server = Server(clock)
    server.open.set()
    return server


@pytest.fixture
def source(server: Server, clock: ManualClock) -> TokenSource:
    return TokenSource(fetch=server.fetch, clock=clock, dice=lambda: 0.5, name="desk")


async def token(source: TokenSource) -> str:
    return (await source.headers(URL))["Authorization"].removeprefix("Bearer ")


async def test_a_token_is_kept(source: TokenSource, server: Server) -> None:
    assert [await token(source) for _ in range(3)] == ["token-1"] * 3
    assert server.asked == 1


async def test_two_hundred_tasks_ask_once(source: TokenSource, server: Server) -> None:
    server.open.clear()
    tasks = [asyncio.create_task(token(source)) for _ in range(200)]
    await server.waiting.wait()
    server.open.set()
    assert set(await asyncio.gather(*tasks)) == {"token-1"}
    assert server.asked == 1


async def test_one_task_that_gives_up_does_not_take_the_token_from_the_others(
    source: TokenSource, server: Server
) -> None:
    server.open.clear()
    first, second = (asyncio.create_task(token(source)) for _ in range(2))
    await server.waiting.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.open.set()
    assert await second == "token-1"
    assert server.asked == 1


@pytest.mark.parametrize(
    ("lifetime", "renewed_after"),
    [
        (HOUR, HOUR - HOUR // 10 - HOUR // 20),
        (120_000, 120_000 - 30_000 - 6_000),
        (30_000, 15_000 - 1_500),
        (2_000, 1_000 - 100),
    ],
)
async def test_a_token_is_renewed_early_and_used_meanwhile(
    source: TokenSource, server: Server, clock: ManualClock, lifetime: int, renewed_after: int
) -> None:
    server.lifetime = lifetime
    assert await token(source) == "token-1"
    clock.advance(renewed_after - 1)
    assert await token(source) == "token-1"
    await server.answered()
    assert server.asked == 1
    clock.advance(1)
    assert await token(source) == "token-1"
    await server.answered()
    assert await token(source) == "token-2"
    assert server.asked == 2


async def test_life_is_counted_from_when_the_token_was_asked_for(
    source: TokenSource, server: Server, clock: ManualClock
) -> None:
    server.open.clear()
    asking = asyncio.create_task(token(source))
    await server.waiting.wait()
    clock.advance(HOUR)
    server.open.set()
    assert await asking == "token-1"
    assert await token(source) == "token-2"


async def test_a_failing_server_is_not_felt_while_the_token_is_good(
    source: TokenSource, server: Server, clock: ManualClock
) -> None:
    await token(source)
    server.failure = TemporaryError("down")
    clock.advance(HOUR - 60_000)
    for _ in range(20):
        assert await token(source) == "token-1"
        await server.answered()
    assert server.asked == 2
    clock.advance(60_000)
    with pytest.raises(TemporaryError, match="down"):
        await token(source)


async def test_a_token_of_no_lifetime_is_used_once(source: TokenSource, server: Server) -> None:
    server.lifetime = 0
    assert [await token(source), await token(source)] == ["token-1", "token-2"]


@pytest.mark.parametrize(
    "failure", [ConfigurationError("refused"), TemporaryError("down", maybe_sent=True)]
)
async def test_a_failure_is_remembered_for_a_growing_pause(
    source: TokenSource, server: Server, clock: ManualClock, failure: ProxyError
) -> None:
    server.failure = failure
    for number, pause in enumerate((1, 2, 4, 8, 16, 32, 60, 60), start=1):
        for _ in range(2):
            with pytest.raises(type(failure), match=str(failure)) as caught:
                await token(source)
            assert caught.value is not failure
            if isinstance(caught.value, TemporaryError):
                assert caught.value.maybe_sent is False
                assert caught.value.retry_after == pause * 1_000
        clock.advance(pause * 1_000 - 1)
        with pytest.raises(type(failure)):
            await token(source)
        assert server.asked == number
        clock.advance(1)
    server.failure = None
    assert await token(source) == "token-9"
    server.failure = failure
    source.invalidate(await source.headers(URL))
    with pytest.raises(type(failure)):
        await token(source)
    clock.advance(1_000)
    server.failure = None
    assert await token(source) == "token-11"


async def test_two_hundred_waiting_tasks_learn_of_one_failure(
    source: TokenSource, server: Server
) -> None:
    server.failure = ConfigurationError("refused")
    failures = await asyncio.gather(*(token(source) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(failure, ConfigurationError) for failure in failures)
    assert len(set(map(id, failures))) == 200
    assert server.asked == 1


async def test_a_pause_that_the_server_asks_for_is_kept(
    source: TokenSource, server: Server, clock: ManualClock
) -> None:
    server.failure = TemporaryError("busy", retry_after=100_000)
    for _ in range(2):
        with pytest.raises(TemporaryError) as caught:
            await token(source)
        assert caught.value.retry_after == 100_000
    clock.advance(99_999)
    with pytest.raises(TemporaryError):
        await token(source)
    assert server.asked == 1


async def test_a_refused_token_is_dropped_and_no_other(source: TokenSource) -> None:
    first = await source.headers(URL)
    assert source.invalidate(first)
    second = await source.headers(URL)
    assert second != first
    assert source.invalidate(first)
    assert await source.headers(URL) == second


async def test_a_mistake_in_a_fetch_is_not_swallowed(clock: ManualClock) -> None:
    async def broken() -> Token:
        raise ZeroDivisionError

    source = TokenSource(fetch=broken, clock=clock, dice=lambda: 0.5, name="desk")
    with pytest.raises(ZeroDivisionError):
        await source.headers(URL)
