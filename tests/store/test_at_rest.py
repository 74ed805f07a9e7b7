"""What a copy of the store shows: no hook call, no text, and no digest to hold a guess to."""

import hashlib
import secrets
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.domain.models import State, StoredRequest
from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing
from proxy.store.at_rest import Privacy
from proxy.store.layout import StoreLayout
from proxy.store.requests import Admission, RequestStore
from tests.support.canaries import stored
from tests.support.manual_clock import ManualClock

OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)
INDEX = b"i" * 32
URL = "https://witboost.example.com/api/actionHandler/4711"
BODY = b'{"respondToUrl": "%s", "fields": {"motivation": "private words"}}' % URL.encode()
CONTENT = hashlib.sha256(b"fields").hexdigest()

HIDDEN = Privacy(KeyRing([NEW, OLD]), INDEX)


class Opened:
    """Stores in one namespace, as several processes with different keys see it."""

    def __init__(self, redis: Redis, clock: ManualClock) -> None:
        self._redis, self._clock = redis, clock
        self.namespace = f"t{secrets.token_hex(6)}"

    async def store(self, privacy: Privacy) -> RequestStore:
        store = RequestStore(
            self._redis,
            namespace=self.namespace,
            partitions=2,
            clock=self._clock,
            privacy=privacy,
        )
        await StoreLayout(store).connect()
        return store

    async def everything(self) -> bytes:
        return b"\n".join(
            [name + value async for name, value in stored(self._redis, self.namespace)]
        )


@pytest.fixture
def opened(redis: Redis, clock: ManualClock) -> Opened:
    return Opened(redis, clock)


ADMISSION = Admission(
    respond_to=URL,
    content=CONTENT,
    body=BODY,
    request_id="r",
    instance="main",
    client="witboost",
    system="desk",
    route="route",
    decision_deadline=60_000,
    reuse_after_final=True,
)


async def admit(store: RequestStore, **changes: Any) -> str:
    return (await store.admit(ADMISSION._replace(**changes))).id


async def write_texts(store: RequestStore, correlation_id: str) -> StoredRequest:
    (before,) = (await store.claim(worker="w", limit=10, lease=1_000)).entries
    texts = replace(before.details, reason="private reason", comment="private comment")
    after = replace(before, details=texts, record=replace(before.record, state=State.HELD))
    assert before.record.id == correlation_id
    return await store.commit(before, after, due=None)


async def test_a_copy_of_the_store_shows_nothing_that_people_wrote(opened: Opened) -> None:
    store = await opened.store(HIDDEN)
    correlation_id = await admit(store)
    await write_texts(store, correlation_id)

    found = await opened.everything()

    assert correlation_id.encode() in found
    assert b"private" not in found
    assert b"actionHandler" not in found
    for guess in (URL, CONTENT):
        assert hashlib.sha256(guess.encode()).hexdigest()[:40].encode() not in found


async def test_without_keys_it_lies_in_clear(opened: Opened) -> None:
    """The negative control of the test above."""
    store = await opened.store(Privacy())
    await write_texts(store, await admit(store))

    found = await opened.everything()

    assert found.count(b"private") == 3
    assert hashlib.sha256(URL.encode()).hexdigest()[:40].encode() in found


async def test_who_has_the_keys_reads_it_and_finds_the_same_request_again(opened: Opened) -> None:
    first, second = await opened.store(HIDDEN), await opened.store(HIDDEN)
    correlation_id = await admit(first)
    await write_texts(first, correlation_id)

    entry = await second.load(correlation_id)

    assert entry is not None
    assert entry.payload == BODY
    assert (entry.details.reason, entry.details.comment) == ("private reason", "private comment")
    assert await admit(second) == correlation_id
    assert (await second.admit(ADMISSION._replace(content="other"))).verdict == "open"


async def test_keys_rotate_while_requests_are_open(opened: Opened) -> None:
    before = await opened.store(Privacy(KeyRing([OLD]), INDEX))
    correlation_id = await admit(before)

    after = await opened.store(HIDDEN)

    entry = await after.load(correlation_id)
    assert entry is not None
    assert entry.payload == BODY
    assert await admit(after) == correlation_id
    await write_texts(after, correlation_id)
    assert (await after.load(correlation_id)).details.reason == "private reason"  # type: ignore[union-attr]


async def test_one_request_under_a_lost_key_does_not_stop_the_others(opened: Opened) -> None:
    lost = await admit(await opened.store(Privacy(KeyRing([OLD]), INDEX)))
    store = await opened.store(Privacy(KeyRing([NEW]), INDEX))
    readable = await admit(store, respond_to=URL + "/2")

    claim = await store.claim(worker="w", limit=10, lease=1_000)

    assert [entry.record.id for entry in claim.entries] == [readable]
    assert claim.unread.keys() == {lost}
    assert "key old, which is not in the key ring" in claim.unread[lost]
    listed = await store.records([lost, readable, f"{lost[:-1]}x"])
    assert [record.id for record in listed] == [lost, readable]
    with pytest.raises(ConfigurationError, match="key old, which is not in the key ring"):
        await store.load(lost)


async def test_a_payload_cannot_be_moved_to_another_request(opened: Opened, redis: Redis) -> None:
    store = await opened.store(HIDDEN)
    first, second = await admit(store), await admit(store, respond_to=URL + "/2")
    place = {name: f"{store.keys.tag_of(name)}:p:{name}" for name in (first, second)}
    await redis.copy(place[first], place[second], replace=True)

    with pytest.raises(ConfigurationError, match="changed or moved"):
        await store.load(second)


async def test_another_index_key_is_refused(opened: Opened) -> None:
    await opened.store(HIDDEN)

    for other in (Privacy(KeyRing([NEW]), b"x" * 32), Privacy()):
        with pytest.raises(ConfigurationError, match=r"encryption\.index_key"):
            await opened.store(other)


async def test_a_store_begun_without_keys_keeps_its_indices(opened: Opened, redis: Redis) -> None:
    plain = await opened.store(Privacy())
    correlation_id = await admit(plain)
    await redis.hdel(f"{opened.namespace}:meta", "indices")  # as a store from before has it

    store = await opened.store(HIDDEN)

    assert await admit(store) == correlation_id
    entry = await store.load(correlation_id)
    assert entry is not None
    assert entry.payload == BODY
    await write_texts(store, correlation_id)
    assert b"private reason" not in await opened.everything()
