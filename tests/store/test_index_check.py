"""Indices that differ from the records: each is found, said in a line, and made again from them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from proxy.domain.events.base import GivenUp, Held
from proxy.domain.events.ticket import CreateStarted, Decided, TicketOpened
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import Decision, State, StoredRequest, Ticket
from proxy.domain.replace import replace
from proxy.store.index_check import Mismatch, compare_indices
from proxy.store.requests import Admission, RequestStore
from tests.conftest import OpenRig
from tests.support.manual_clock import ManualClock

DAY = 86_400_000
URL = "https://witboost.example.com/api/actionHandler/"


@dataclass
class World:
    """A store with one request of each kind; `{name}` in a command stands for what it names."""

    store: RequestStore
    names: dict[str, str]

    async def run(self, command: str) -> None:
        """Change the store by hand."""
        words = [word.format(**self.names) for word in command.split()]
        await self.store.batcher.command(*words)

    async def compare(self, *, repair: bool = False) -> set[tuple[str, str]]:
        """Return whom the differences are about, by name, and what they are."""
        found = [it async for it in compare_indices(self.store, repair=repair, retention=DAY)]
        assert all(len(it.message) > 20 and "{" not in it.message for it in found)
        called = {value: name for name, value in self.names.items()}
        return {(called.get(it.about, it.about), it.kind) for it in found}

    async def indices(self) -> dict[str, object]:
        """Return every index as it is, without the moments at which requests are due."""
        tag, kept = self.names["tag"], dict[str, object]()
        ask = self.store.batcher.command
        kept["due"] = sorted(await ask("ZRANGE", f"{tag}:due", 0, -1))
        kept["open"] = await ask("HGETALL", f"{tag}:open")
        for state in State:
            kept[state] = await ask("ZRANGE", f"{tag}:s:{state}", 0, -1, "WITHSCORES")
        async for page in self.store.batcher.scan(f"{tag}:[ut]:*"):
            kept |= {name.decode(): await ask("GET", name) for name in page}
        return kept


@pytest.fixture
async def world(redis: Redis, clock: ManualClock) -> AsyncIterator[World]:
    store = RequestStore(redis, namespace=f"t{secrets.token_hex(6)}", partitions=1, clock=clock)
    tag = store.keys.tag(0)
    made = {}
    for name in ("older", "newest", "pending", "held", "dead"):
        made[name] = await admitted(store, "again" if name in {"older", "newest"} else name)
        ticket = Ticket(id=f"1{name}", key=f"DESK-{name}")
        now = clock.now()
        opened = await written(
            store, made[name], CreateStarted(at=now), TicketOpened(at=now, ticket=ticket)
        )
        match name:
            case "older" | "newest":
                decided = Decided(at=now, decision=Decision.REJECTED)
                died = GivenUp(at=now, code="gave_up", reason="nobody answers")
                made[name] = await written(store, opened, decided, died, due=now + DAY)
            case "held":
                held = Held(at=now, code="guarded", reason="by the requester")
                made[name] = await written(store, opened, held, due=opened.record.deadline_at)
            case _:
                made[name] = await written(store, opened, due=now + 1_000)
        clock.advance(1)
    pending = made["pending"].record
    ghost = f"{pending.id[:10]}{'0' * 20}"
    names = {name: entry.record.id for name, entry in made.items()}
    urls = {f"url_of_{name}": entry.record.url_digest for name, entry in made.items()}
    yield World(store, {**names, **urls, "ghost": ghost, "tag": tag})
    await store.batcher.close()


async def admitted(store: RequestStore, url: str) -> StoredRequest:
    admission = Admission(
        respond_to=f"{URL}{url}",
        content=secrets.token_hex(4),
        body=b"{}",
        request_id="r",
        instance="main",
        client="witboost",
        system="desk",
        route="r1",
        decision_deadline=30 * DAY,
        reuse_after_final=True,
    )
    entry = await store.load((await store.admit(admission)).id)
    assert entry is not None
    return entry


async def written(
    store: RequestStore,
    entry: StoredRequest,
    *events: CreateStarted | TicketOpened | Decided | GivenUp | Held,
    due: int = 0,
) -> StoredRequest:
    after = entry
    for event in events:
        after = advance_entry(after, event)
    return await store.commit(entry, after, due=due or "keep")


BROKEN = {
    "a working one is never due": ("ZREM {tag}:due {pending}", {("pending", "never due")}),
    "a held one misses its deadline": ("ZREM {tag}:due {held}", {("held", "never due")}),
    "a final one is kept for ever": ("ZREM {tag}:due {newest}", {("newest", "never due")}),
    "nobody is due": ("ZADD {tag}:due 1 {ghost}", {("ghost", "due")}),
    "missing from a list": ("ZREM {tag}:s:pending {pending}", {("pending", "unlisted")}),
    "listed at another time": ("ZADD {tag}:s:pending 5 {pending}", {("pending", "unlisted")}),
    "listed twice": ("ZADD {tag}:s:held 1 {pending}", {("pending", "listed")}),
    "nobody is listed": ("ZADD {tag}:s:done 1 {ghost}", {("ghost", "listed")}),
    "its URL leads nowhere": ("DEL {tag}:u:{url_of_pending}", {("pending", "url")}),
    "its URL leads to nobody": (
        "SET {tag}:u:{url_of_pending} {ghost}",
        {("pending", "url"), ("ghost", "stray")},
    ),
    "its URL leads to an older one": (
        "SET {tag}:u:{url_of_newest} {older}",
        {("newest", "url")},
    ),
    "its URL leads to that of another URL": (
        "SET {tag}:u:{url_of_newest} {held}",
        {("newest", "url"), ("older", "url"), ("held", "stray")},
    ),
    "no request has that URL": ("SET {tag}:u:0123 {pending}", {("pending", "stray")}),
    "its ticket's id leads nowhere": ("DEL {tag}:t:desk:1pending", {("pending", "ticket")}),
    "its ticket's key leads nowhere": ("DEL {tag}:t:desk:DESK-held", {("held", "ticket")}),
    "its ticket leads to nobody": (
        "SET {tag}:t:desk:1pending {ghost}",
        {("pending", "ticket"), ("ghost", "stray")},
    ),
    "its ticket leads to another": (
        "SET {tag}:t:desk:1pending {held}",
        {("pending", "ticket"), ("held", "stray")},
    ),
    "no request has that ticket": ("SET {tag}:t:desk:17 {held}", {("held", "stray")}),
    "too many are counted": ("HINCRBY {tag}:open main/desk 2", {("main/desk", "open")}),
    "none are counted": ("DEL {tag}:open", {("main/desk", "open")}),
    "others are counted": ("HSET {tag}:open main/gone 3", {("main/gone", "open")}),
}


async def test_a_healthy_store_has_no_differences(world: World) -> None:
    assert await world.compare() == set()


@pytest.mark.parametrize(("command", "differences"), BROKEN.values(), ids=BROKEN)
async def test_each_broken_index_is_found_and_made_again(
    world: World, command: str, differences: set[tuple[str, str]]
) -> None:
    whole = await world.indices()
    await world.run(command)
    broken = await world.indices()
    assert await world.compare() == differences
    assert await world.indices() == broken, "who only compares changes nothing"
    mended = await world.compare(repair=True)
    assert mended
    assert mended <= differences, "what mends one may mend another"
    assert await world.compare() == set()
    assert await world.indices() == whole


async def test_what_is_due_again_is_due_when_it_would_have_been(
    world: World, clock: ManualClock
) -> None:
    for name in ("pending", "held", "newest"):
        await world.run(f"ZREM {{tag}}:due {{{name}}}")
    await world.compare(repair=True)
    due = {}
    for name in ("pending", "held", "newest"):
        id_ = world.names[name]
        at = await world.store.batcher.command("ZSCORE", f"{world.names['tag']}:due", id_)
        entry = await world.store.load(id_)
        assert entry is not None
        due[name] = int(at), entry.record
    assert due["pending"][0] == clock.now()
    assert due["held"][0] == due["held"][1].deadline_at
    assert due["newest"][0] == due["newest"][1].finished_at + DAY


@pytest.mark.parametrize(
    ("command", "difference"),
    [
        ("SET {tag}:p:{ghost} x", ("ghost", "left")),
        ("HSET {tag}:x:{ghost} reason x", ("ghost", "left")),
        ("RPUSH {tag}:h:{ghost} x", ("ghost", "left")),
        ("HSET {tag}:r:{pending} ticket_id 1held", ("pending", "shared")),
    ],
)
async def test_what_no_record_explains_is_left_to_a_person(
    world: World, command: str, difference: tuple[str, str]
) -> None:
    await world.run(command)
    for repair in (False, True, True):
        assert difference in await world.compare(repair=repair)
    found = [it async for it in compare_indices(world.store)]
    assert [it.repairable for it in found if it.kind == difference[1]] == [False]
    await world.run("DEL {tag}:p:{ghost} {tag}:x:{ghost} {tag}:h:{ghost}")


async def test_a_service_beside_it_is_not_disturbed(open_rig: OpenRig) -> None:
    """While requests come in, open tickets and end, no difference shows, and nothing is put off."""
    async with open_rig() as rig:
        found: list[Mismatch] = []
        over = asyncio.Event()

        async def compare() -> int:
            store, rounds = rig.program.store, 0
            while not over.is_set() or rounds < 2:
                found.extend(
                    [it async for it in compare_indices(store, repair=True, retention=DAY)]
                )
                rounds += 1
            return rounds

        comparing = asyncio.create_task(compare())
        calls = [await rig.ask() for _ in range(12)]
        await rig.work()
        for ticket in rig.tickets():
            rig.desk.decide(ticket["id"], "approved", by="olga")
        await rig.work(after=2_000)
        over.set()
        assert await comparing >= 2
        assert {await rig.state(call) for call in calls} == {State.DONE}
        assert found == []


async def test_a_decided_one_that_is_held_need_not_be_due(world: World) -> None:
    """Only a person can move it on; that it is not due is no difference."""
    entry = await world.store.load(world.names["held"])
    assert entry is not None
    record = replace(entry.record, decision=Decision.APPROVED)
    await world.store.commit(entry, replace(entry, record=record), due=None)
    assert await world.compare() == set()
