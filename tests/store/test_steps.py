"""The store's atomic steps on a real server."""

from dataclasses import replace

import orjson
import pytest

from proxy.domain.events.ticket import CreateStarted, Decided, TicketOpened
from proxy.domain.lifecycle import advance
from proxy.domain.models import Decision, State, StoredRequest, Ticket
from proxy.errors import StaleError, SupersededError
from proxy.store.audit_streams import AuditStreams
from proxy.store.codec import history_entry
from proxy.store.requests import Admission, Admitted, RequestStore
from tests.support.manual_clock import ManualClock

pytestmark = pytest.mark.parametrize(
    "redis_url", ["embedded", "redis-server"], indirect=True, scope="session"
)

URL = "https://witboost.example.com/api/actionHandler/1"


def admission(url: str = URL, content: str = "c1", *, reuse: bool = True) -> Admission:
    return Admission(
        respond_to=url,
        content=content,
        body=b'{"fields":{}}',
        request_id="6f1c1b0e-0000-4000-8000-000000000000",
        instance="main",
        client="witboost",
        system="desk",
        route="abc",
        decision_deadline=1_000_000,
        reuse_after_final=reuse,
    )


async def claim_one(store: RequestStore, *, lease: int = 60_000) -> StoredRequest:
    claim = await store.claim(worker="w", limit=4, lease=lease)
    assert len(claim.entries) == 1
    return claim.entries[0]


async def finish(store: RequestStore, entry: StoredRequest, clock: ManualClock) -> StoredRequest:
    done = replace(entry.record, state=State.DONE, decision=Decision.APPROVED)
    return await store.commit(entry, replace(entry, record=done), due=clock.now() + 99)


async def test_an_admission_is_stored_whole(store: RequestStore, clock: ManualClock) -> None:
    admitted = await store.admit(admission())
    entry = await store.load(admitted.id)
    assert entry is not None
    assert entry.record.state is State.RECEIVED
    assert entry.record.admitted_at == clock.now()
    assert entry.record.deadline_at == clock.now() + 1_000_000
    assert entry.payload == b'{"fields":{}}'
    assert [line["event"] for line in await store.history(admitted.id)] == ["Admitted"]
    assert await store.next_due() == clock.now()
    assert (await store.counts())[State.RECEIVED] == 1
    assert await store.open_counts() == {("main", "desk"): 1}


async def test_the_same_content_is_the_same_request(store: RequestStore) -> None:
    first = await store.admit(admission())
    again = await store.admit(admission())
    assert again == Admitted("same", first.id)
    assert (await store.counts())[State.RECEIVED] == 1


async def test_other_content_waits_until_the_first_is_final(
    store: RequestStore, clock: ManualClock
) -> None:
    first = await store.admit(admission())
    assert (await store.admit(admission(content="c2"))).verdict == "open"
    await finish(store, await claim_one(store), clock)
    assert (await store.admit(admission(content="c2", reuse=False))).verdict == "used"
    second = await store.admit(admission(content="c2"))
    assert (second.verdict, second.id != first.id) == ("new", True)
    # the first content now differs from the newest
    assert (await store.admit(admission())).verdict == "open"


async def test_a_dead_request_without_a_decision_is_still_open(store: RequestStore) -> None:
    await store.admit(admission())
    entry = await claim_one(store)
    dead = replace(entry.record, state=State.DEAD)
    await store.commit(entry, replace(entry, record=dead), due=dead.deadline_at)
    assert (await store.admit(admission(content="c2"))).verdict == "open"


async def test_a_claim_is_exclusive_for_one_lease(store: RequestStore, clock: ManualClock) -> None:
    await store.admit(admission())
    entry = await claim_one(store, lease=1_000)
    assert not (await store.claim(worker="other", limit=4, lease=1_000)).entries
    clock.advance(1_000)
    second = await claim_one(store)
    assert second.record.fence == entry.record.fence + 1


async def test_with_room_for_one_it_is_found_wherever_it_is(
    store: RequestStore, clock: ManualClock
) -> None:
    """Nobody who has less room than there are partitions is told that nothing is due."""
    for number in range(4 * len(store.keys.tags())):
        admitted = await store.admit(admission(f"{URL}{number}"))
        if number % 2:  # somebody may ask twice in a turn
            assert not (await store.claim(worker="w", limit=1, lease=60_000, tags=["{no}"])).entries
        claim = await store.claim(worker="w", limit=1, lease=60_000)
        assert [entry.record.id for entry in claim.entries] == [admitted.id]
        clock.advance(1)


async def test_a_late_write_is_refused_by_the_fence(
    store: RequestStore, clock: ManualClock
) -> None:
    await store.admit(admission())
    late = await claim_one(store, lease=1_000)
    clock.advance(1_000)
    await claim_one(store)
    with pytest.raises(StaleError):
        await finish(store, late, clock)


async def test_a_repeated_claim_answers_as_the_first_time(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.admit(admission())
    monkeypatch.setattr(store, "operation", lambda: "same-token")
    first = await claim_one(store)
    second = await claim_one(store)
    assert second.record.fence == first.record.fence


async def test_a_repeated_commit_answers_as_the_first_time(
    store: RequestStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = await store.admit(admission())
    entry = await claim_one(store)
    event = CreateStarted(at=clock.now())
    after = replace(entry, record=advance(entry.record, event))
    monkeypatch.setattr(store, "operation", lambda: "operation")
    await store.commit(
        entry, after, [history_entry(event, after.record)], due="keep", take_over=True
    )
    await store.commit(
        entry, after, [history_entry(event, after.record)], due="keep", take_over=True
    )
    assert [line["event"] for line in await store.history(admitted.id)] == ["Admitted", "Sending"]
    monkeypatch.undo()
    with pytest.raises(StaleError):  # without the remembered operation it is a late write
        await store.commit(
            entry, after, [history_entry(event, after.record)], due="keep", take_over=True
        )


async def open_ticket(store: RequestStore, clock: ManualClock) -> StoredRequest:
    await store.admit(admission())
    entry = await claim_one(store)
    for event in (
        CreateStarted(at=clock.now()),
        TicketOpened(at=clock.now(), ticket=Ticket("1001", "DESK-1", native_status="new")),
    ):
        after = replace(entry, record=advance(entry.record, event))
        entry = await store.commit(entry, after, due="keep")
    return await store.commit(entry, entry, due=clock.now() + 300_000)


async def test_a_ticket_finds_its_request_by_id_key_and_correlation_id(
    store: RequestStore, clock: ManualClock
) -> None:
    entry = await open_ticket(store, clock)
    for ref in ("1001", "DESK-1", entry.record.id):
        assert await store.find("desk", [ref]) == [entry.record.id]
    assert await store.find("other", ["1001"]) == []


async def test_a_hint_makes_a_pending_request_due_and_a_flood_costs_little(
    store: RequestStore, clock: ManualClock
) -> None:
    entry = await open_ticket(store, clock)
    reads = 0
    for _ in range(1_000):
        await store.hint(entry.record.id, interval=5_000, burst=3, by="desk")
        claim = await store.claim(worker="w", limit=4, lease=60_000)
        for claimed in claim.entries:
            reads += 1
            await store.commit(claimed, claimed, due=clock.now() + 300_000)
        clock.advance(10)
    assert 3 <= reads <= 3 + 1_000 * 10 // 5_000 + 1
    # the last event leads to one more read
    due = await store.next_due()
    assert due is not None
    assert due <= clock.now() + 5_000


async def test_a_hint_during_a_read_leads_to_one_more_read(
    store: RequestStore, clock: ManualClock
) -> None:
    entry = await open_ticket(store, clock)
    clock.advance(300_000)
    claimed = await claim_one(store)
    assert await store.hint(entry.record.id, interval=5_000, burst=3, by="desk") == "soon"
    await store.commit(claimed, claimed, due=clock.now() + 300_000)
    assert await store.next_due() == clock.now()


async def test_a_hint_for_a_request_without_ticket_is_dropped(store: RequestStore) -> None:
    admitted = await store.admit(admission())
    assert await store.hint(admitted.id, interval=5_000, burst=3, by="desk") == "ignored"


async def test_only_the_newest_request_of_a_url_may_be_retried(
    store: RequestStore, clock: ManualClock
) -> None:
    await store.admit(admission())
    entry = await claim_one(store)
    dead = replace(entry.record, state=State.DEAD, decision=Decision.APPROVED)
    entry = await store.commit(entry, replace(entry, record=dead), due=clock.now() + 99)
    newer = await store.admit(admission(content="c2"))
    with pytest.raises(SupersededError, match=newer.id):
        await store.commit(entry, entry, due=clock.now(), take_over=True, only_newest=True)


async def test_retention_removes_everything_of_a_finished_request(
    store: RequestStore, clock: ManualClock
) -> None:
    entry = await open_ticket(store, clock)
    assert not await store.expire(entry.record)  # still open
    clock.advance(300_000)
    entry = await claim_one(store)
    decided = Decided(at=clock.now(), decision=Decision.APPROVED)
    entry = await store.commit(
        entry, replace(entry, record=advance(entry.record, decided)), due="keep"
    )
    entry = await finish(store, entry, clock)
    assert await store.expire(entry.record)
    assert await store.expire(entry.record)  # safe to repeat
    names = [name async for name in store.client.scan_iter(f"*{store.keys.namespace}:*")]
    kept = (b":open", b":audit")
    left = [name for name in names if not name.endswith(kept) and b":c:" not in name]
    assert left == []


async def test_an_entry_shared_under_one_url_goes_only_with_its_request(
    store: RequestStore, clock: ManualClock
) -> None:
    await store.admit(admission())
    old = await finish(store, await claim_one(store), clock)
    newer = await store.admit(admission(content="c2"))
    assert await store.expire(old.record)
    assert (await store.admit(admission(content="c2"))).id == newer.id


async def test_listings_are_newest_first_and_paged(store: RequestStore, clock: ManualClock) -> None:
    ids = []
    for number in range(5):
        ids.append((await store.admit(admission(f"{URL}{number}"))).id)
        clock.advance(1)
    assert await store.list_ids([State.RECEIVED], limit=2) == ids[:2:-1]
    before = clock.now() - 2
    assert await store.list_ids(list(State), limit=9, before=before) == ids[2::-1]


async def test_a_repeat_after_a_lost_reply_adds_nothing_to_the_audit(
    store: RequestStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step twice, as the client repeats it: admit, commit, hint, expire, note."""
    streams = AuditStreams(store)
    monkeypatch.setattr(store, "operation", lambda: "same-token")
    for _ in range(2):
        admitted = await store.admit(admission())
    claimed = await claim_one(store)
    ticket = Ticket("42", "DESK-42")
    opened = TicketOpened(at=clock.now(), ticket=ticket)
    pending = replace(claimed, record=replace(advance(claimed.record, opened)))
    for _ in range(2):
        line = history_entry(opened, pending.record)
        await store.commit(claimed, pending, [line], due=clock.now() + 60_000)
    for _ in range(2):
        await store.hint(admitted.id, interval=5_000, burst=3, by="desk")
    monkeypatch.undo()
    done = await finish(store, await claim_one(store), clock)
    for _ in range(2):
        assert await store.expire(done.record)
    monkeypatch.setattr(store, "operation", lambda: "another-token")
    for _ in range(2):
        assert await streams.append("refused", {"event": "Refused"})
    entries = await streams.unsealed({}, limit=100)
    told = [orjson.loads(entry.line)["event"] for entry in entries]
    assert sorted(told) == ["Admitted", "Expired", "Hinted", "Opened", "Refused"]
