"""Tokens in a real server: encrypted, bound to their key, changed only where they are current."""

import hashlib
import socket
from dataclasses import replace
from typing import Any

import orjson
import pytest

from proxy.errors import ConfigurationError, StoreUnavailableError
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import AuditStreams
from proxy.store.client.pipeline import Script
from proxy.store.client.scripts import TOKENS
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.support.waiting import wait_until

pytestmark = pytest.mark.parametrize(
    "redis_url", ["embedded", "redis-server"], indirect=True, scope="session"
)

HOUR = 3_600_000
OLD = ("2025", b"o" * 32)
NEW = ("2026", b"n" * 32)


@pytest.fixture
def tokens(store: RequestStore) -> RedisTokens:
    return RedisTokens(store, KeyRing([NEW]))


READ = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"stream": ("XRANGE", "-", "+"),
}


async def dump(store: RequestStore) -> bytes:
    """Return everything in the store: names and values as they travel."""
    found = b""
    async for name in store.client.scan_iter(f"*{store.keys.namespace}*"):
        command, *words = READ[await store.client.type(name)]
        found += name + repr(await store.batcher.command(command, name, *words)).encode()
    return found


async def noted(store: RequestStore) -> list[dict[str, Any]]:
    """Return what the audit says of logins, without the time."""
    entries = await AuditStreams(store).unsealed({}, limit=100)
    assert {entry.stream for entry in entries} <= {"logins"}
    lines = [orjson.loads(entry.line) for entry in entries]
    assert all(line.pop("at") for line in lines)
    return lines


async def test_a_token_is_kept_for_what_it_has_left(tokens: RedisTokens) -> None:
    assert await tokens.load("k") is None
    await tokens.keep("k", "one", HOUR // 2, HOUR)
    found = await tokens.load("k")
    assert found is not None
    assert (found.value, found.lifetime) == ("one", HOUR)
    assert HOUR // 2 - 60_000 < found.remaining <= HOUR // 2
    assert await tokens.load("other") is None


@pytest.mark.parametrize(("remaining", "lifetime"), [(0, HOUR), (-1, HOUR), (HOUR, 0)])
async def test_what_may_not_be_kept_is_not(
    tokens: RedisTokens, remaining: int, lifetime: int
) -> None:
    await tokens.keep("k", "one", remaining, lifetime)
    assert await tokens.load("k") is None


async def test_a_token_ends_by_itself(tokens: RedisTokens) -> None:
    await tokens.keep("k", "one", 20, HOUR)

    async def gone() -> bool:
        return await tokens.load("k") is None

    await wait_until(gone)


async def test_exactly_one_token_is_dropped(tokens: RedisTokens) -> None:
    await tokens.keep("k", "two", HOUR, HOUR)
    await tokens.drop("k", "one")
    assert await tokens.load("k") is not None
    await tokens.drop("k", "two")
    await tokens.drop("k", "two")
    assert await tokens.load("k") is None


async def test_one_owner_has_the_turn_until_it_ends(tokens: RedisTokens) -> None:
    assert await tokens.begin("k", "a", HOUR)
    assert await tokens.begin("k", "a", HOUR)
    assert not await tokens.begin("k", "b", HOUR)
    await tokens.end("k", "b")
    assert not await tokens.begin("k", "b", HOUR)
    assert await tokens.begin_use("k", "b", HOUR)  # another turn
    await tokens.end("k", "a")
    assert await tokens.begin("k", "b", 20)

    async def begun() -> bool:
        return await tokens.begin("k", "c", HOUR)

    await wait_until(begun)


async def test_a_refresh_token_goes_from_one_to_the_next(tokens: RedisTokens) -> None:
    assert await tokens.current("k") is None
    assert not await tokens.rotate("k", "r0", "r1", system="desk")
    assert not await tokens.sending("k", "r0", "a")
    await tokens.put("k", "r1", system="desk", by="olga")
    assert await tokens.begin_use("k", "a", HOUR)
    assert await tokens.sending("k", "r1", "a")
    current = await tokens.current("k")
    assert current is not None
    assert (current.value, current.sent) == ("r1", True)
    for _ in range(2):  # the second one as after a lost answer
        assert await tokens.rotate("k", "r1", "r2", system="desk")
    current = await tokens.current("k")
    assert current is not None
    assert (current.value, current.sent) == ("r2", False)
    assert not await tokens.rotate("k", "r1", "r3", system="desk")
    assert await tokens.sending("k", "r2", "a")
    assert await tokens.rotate("k", "r2", "r2", system="desk")
    assert await tokens.current("k") == replace(current, sent=False)
    assert await tokens.sending("k", "r2", "a")
    await tokens.put("k", "r9", system="desk", by="olga")
    assert await tokens.current("k") == replace(current, value="r9", sent=False)


async def test_only_the_owner_of_the_turn_may_send_and_only_what_is_current(
    tokens: RedisTokens,
) -> None:
    await tokens.put("k", "r1", system="desk", by="olga")
    assert not await tokens.sending("k", "r1", "a")
    assert await tokens.begin_use("k", "a", HOUR)
    assert not await tokens.sending("k", "r1", "b")
    assert not await tokens.sending("k", "r0", "a")
    await tokens.end_use("k", "a")
    assert not await tokens.sending("k", "r1", "a")


LOGGED_IN = {"event": "LoggedIn", "by": f"olga on {socket.gethostname()}", "system": "desk"}
ROTATED = {
    "event": "RefreshTokenRotated",
    "by": f"approval-proxy on {socket.gethostname()}",
    "system": "desk",
}


async def test_each_change_of_a_refresh_token_is_in_the_audit_once(
    tokens: RedisTokens, store: RequestStore
) -> None:
    """What changes nothing is not: a repeat, a token that came too late, one that stays."""
    await tokens.put("k", "r1", system="desk", by="olga")
    for _ in range(2):
        await tokens.rotate("k", "r1", "r2", system="desk")
    await tokens.rotate("k", "r1", "r3", system="desk")
    await tokens.begin_use("k", "a", HOUR)
    await tokens.sending("k", "r2", "a")
    await tokens.rotate("k", "r2", "r2", system="desk")
    assert await noted(store) == [LOGGED_IN, ROTATED]


@pytest.mark.parametrize("removed", ["", "entry ~= ''"], ids=["as it is", "without its entry"])
async def test_who_dies_after_the_change_has_noted_it(
    tokens: RedisTokens, store: RequestStore, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    """One step: a change whose answer arrives nowhere is in the audit, and a repeat adds none."""
    if removed:
        source = TOKENS.source.replace(removed, "false")
        digest = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - as Redis names scripts
        monkeypatch.setattr("proxy.store.tokens.TOKENS", Script(source, digest))
    run, sent = store.batcher.script, []

    async def die(script: Script[Any], keys: list[str], args: Any) -> None:
        sent.append((script, keys, args))
        await run(script, keys, args)
        raise StoreUnavailableError("the process ends here")

    monkeypatch.setattr(store.batcher, "script", die)
    with pytest.raises(StoreUnavailableError):
        await tokens.put("k", "r1", system="desk", by="olga")
    with pytest.raises(StoreUnavailableError):
        await tokens.rotate("k", "r1", "r2", system="desk")
    for words in sent[1:]:
        await run(*words)  # as redis-py does
    assert (await noted(store) == [LOGGED_IN, ROTATED]) == (not removed)


async def test_a_copy_of_the_whole_store_shows_no_token(
    tokens: RedisTokens, store: RequestStore
) -> None:
    await tokens.keep("k", "canary-access", HOUR, HOUR)
    await tokens.put("k", "canary-refresh", system="desk", by="olga")
    await tokens.rotate("k", "canary-refresh", "canary-rotated", system="desk")
    everything = await dump(store)
    assert b"2026." in everything
    assert b"RefreshTokenRotated" in everything
    assert b"canary" not in everything
    place = store.keys.token("k")
    await store.batcher.command("SET", place, "canary", "PX", HOUR)
    assert b"canary" in await dump(store)  # it would have been seen


async def test_a_value_moved_to_another_key_does_not_open(
    tokens: RedisTokens, store: RequestStore
) -> None:
    await tokens.keep("a", "one", HOUR, HOUR)
    await store.batcher.command("COPY", store.keys.token("a"), store.keys.token("b"))
    await tokens.put("a", "r1", system="desk", by="olga")
    await store.batcher.command("COPY", store.keys.refresh("a"), store.keys.refresh("b"))
    with pytest.raises(ConfigurationError, match="changed or moved"):
        await tokens.load("b")
    with pytest.raises(ConfigurationError, match="changed or moved"):
        await tokens.current("b")


async def test_keys_are_replaced_while_tokens_live(store: RequestStore) -> None:
    before = RedisTokens(store, KeyRing([OLD]))
    between = RedisTokens(store, KeyRing([NEW, OLD]))
    after = RedisTokens(store, KeyRing([NEW]))
    await before.put("k", "r1", system="desk", by="olga")
    await before.keep("k", "one", HOUR, HOUR)
    with pytest.raises(ConfigurationError, match="2025"):
        await after.current("k")
    assert (await between.load("k")) is not None
    assert await between.rotate("k", "r1", "r2", system="desk")
    current = await after.current("k")
    assert current is not None
    assert current.value == "r2"
