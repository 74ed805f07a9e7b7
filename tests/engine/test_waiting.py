"""Many requests wait for a destination: what that costs, and how they come back after it."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from unittest.mock import patch

import pytest

from proxy.domain.models import State
from proxy.engine.pauses import Pauses
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import HookCall
from proxy.store.pauses import BACK_PER_SECOND, Cause, PauseStore
from tests.conftest import OpenRig
from tests.engine.test_outages import act, many
from tests.support.rig import Rig

SECOND = 1_000
MINUTE = 60 * SECOND
MANY = 400
LONG = 3 * MINUTE
Alone = Callable[[Rig], Awaitable[HookCall]]
SOON = MANY // BACK_PER_SECOND + 12  # seconds: one more round of the line, and all are back


def looks(rig: Rig) -> int:
    """Return how many claimed requests were looked at so far."""
    (family,) = rig.program.metrics.step_seconds.collect()
    return int(sum(it.value for it in family.samples if it.name.endswith("_count")))


async def waiting(rig: Rig) -> Sequence[HookCall]:
    """Let many requests wait for a desk in maintenance for some minutes."""
    calls = await many(rig, MANY)
    await act(rig, "desk", "pause")
    await rig.work()
    assert looks(rig) == MANY
    for _ in range(LONG // (5 * SECOND)):
        await rig.work(after=5 * SECOND)
    assert not rig.tickets()
    return calls


async def tickets_by_second(rig: Rig, seconds: int) -> list[int]:
    """Return how many tickets there are now, and after each of so many seconds."""
    counts = []
    for each in range(seconds + 1):
        await rig.work(after=SECOND if each else 0)
        counts.append(len(rig.tickets()))
    return counts


async def test_many_that_wait_cost_little_and_come_back_soon_but_not_all_at_once(rig: Rig) -> None:
    await waiting(rig)
    assert looks(rig) - MANY <= 4 * LONG // SECOND + 1
    await act(rig, "desk", "resume", "done")
    partitions = rig.program.settings.store.partitions
    counts = await tickets_by_second(rig, MANY // BACK_PER_SECOND + 2)
    assert counts[0] == partitions, "one of each comes at once"
    assert counts[1] <= BACK_PER_SECOND + 2 * partitions
    assert counts[-1] == MANY


async def test_without_a_line_they_cost_much(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: each waits for as long as it would alone."""
    monkeypatch.setattr(Pauses, "next_attempt_in", lambda *_, **__: 40 * SECOND)
    await waiting(rig)
    assert looks(rig) - MANY > 4 * LONG // SECOND + 1


async def test_without_being_brought_back_many_come_late(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: nobody does it, neither who ended the pause nor who looks next."""

    async def forgets(_store: PauseStore, _destination: str) -> None:
        pass

    monkeypatch.setattr(PauseStore, "requeue_waiting", forgets)
    await waiting(rig)
    await act(rig, "desk", "resume", "done")
    assert (await tickets_by_second(rig, SOON))[-1] < MANY // 2


async def test_where_whoever_ended_a_pause_died_the_next_brings_them_back(rig: Rig) -> None:
    await waiting(rig)
    with patch.object(PauseStore, "requeue_waiting", side_effect=EOFError), pytest.raises(EOFError):
        await rig.program.pause_store.resume("desk")
    assert (await rig.program.pause_store.pauses())["desk"].returning
    assert (await tickets_by_second(rig, SOON))[-1] == MANY
    assert not (await rig.program.pause_store.pauses())["desk"].returning


async def test_the_line_is_as_long_as_a_quarter_of_an_hour(rig: Rig) -> None:
    """Ten thousand stand in it two and three at a place, and begin with the next probe."""
    pauses, now = rig.program.flow._context.pauses, rig.clock.now()
    await rig.program.pause_store.pause("desk", "r", probe_after=MINUTE, cause=Cause.RATE_LIMITED)
    assert await pauses.paused("desk")
    places = Counter(pauses.next_attempt_in("desk", now) for _ in range(10_000))
    assert min(places) == MINUTE
    assert max(places) == MINUTE + 15 * MINUTE
    assert set(places.values()) == {2, 3}


async def test_a_probe_that_succeeds_brings_them_back(rig: Rig) -> None:
    await many(rig, MANY)
    await rig.program.pause_store.pause("desk", "down", probe_after=MINUTE, cause=Cause.UNREACHABLE)
    await rig.work()
    assert await tickets_by_second(rig, 59) == [0] * 60
    assert (await tickets_by_second(rig, MANY // BACK_PER_SECOND + 3))[-1] == MANY


async def test_who_was_about_to_wait_when_the_pause_ended_does_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.ask()
    await act(rig, "desk", "pause")
    may_probe = PauseStore.may_probe

    async def ends(store: PauseStore, name: str, *, again_after: int) -> bool:
        allowed = await may_probe(store, name, again_after=again_after)
        await act(rig, name, "resume")
        return allowed

    monkeypatch.setattr(PauseStore, "may_probe", ends)
    await rig.work()
    assert len(rig.tickets()) == 1


async def due_in(rig: Rig) -> int | None:
    due = await rig.program.store.next_due()
    return None if due is None else due - rig.clock.now()


async def test_a_deadline_is_not_waited_past(open_rig: OpenRig) -> None:
    route = {"name": "default", "system": "desk", "decision_deadline": "5m"}
    async with open_rig(routes=[route]) as rig:
        call = await rig.ask()
        await act(rig, "desk", "pause")
        rig.program.flow._context.pauses._queue["desk"] = rig.clock.now() + 10 * MINUTE
        await rig.work()
        assert await due_in(rig) == 5 * MINUTE
        await rig.work(after=5 * MINUTE)
        assert (rig.final(call) or {})["status"] == "KO"


async def test_what_was_set_aside_and_cannot_meet_its_deadline_is_brought_back(
    open_rig: OpenRig,
) -> None:
    route = {"name": "default", "system": "desk", "decision_deadline": "5m"}
    async with open_rig(routes=[route]) as rig:
        rig.desk.switch_on(Fault("event", "lose", times=None))
        call = await rig.ask()
        await rig.work()
        rig.desk.switch_on(Fault("read", "answer", status=422))
        await rig.work(after=SECOND)
        assert await rig.state(call) is State.HELD
        await act(rig, "desk", "pause")
        await rig.work(after=5 * MINUTE)
        assert await due_in(rig) == 10 * SECOND
        await act(rig, "desk", "resume")
        await rig.work()
        assert (rig.final(call) or {})["status"] == "KO"


async def test_callbacks_are_brought_back(rig: Rig) -> None:
    call = await rig.ask()
    await rig.work()
    await act(rig, "main", "pause")
    rig.desk.decide(rig.tickets()[0]["id"], "approved", by="olga")
    await rig.work(after=MINUTE)
    assert await rig.state(call) is State.DECIDED
    await act(rig, "main", "resume")
    await rig.work()
    assert (rig.final(call) or {})["status"] == "OK"


async def test_who_does_not_wait_stays_where_it_is(rig: Rig) -> None:
    """A ticket is not read sooner, and what somebody works on is not taken from them."""
    rig.desk.switch_on(Fault("event", "lose", times=None))
    await rig.ask()
    await rig.work()
    for name in ("main", "desk"):
        await act(rig, name, "pause")
        await act(rig, name, "resume")
    assert await due_in(rig) == SECOND, "it was to be read then"

    await act(rig, "desk", "pause")
    await rig.work(after=SECOND)
    assert await due_in(rig) == 10 * SECOND
    rig.clock.advance(10 * SECOND)
    claim = await rig.program.store.claim(worker="another", limit=8, lease=MINUTE)
    assert len(claim.entries) == 1
    await act(rig, "desk", "resume")
    assert await due_in(rig) == MINUTE


async def refused_alone(rig: Rig) -> HookCall:
    """Let a desk refuse one request alone, the first that came; return another one."""
    call = await rig.ask()
    subject = call.correlation_id
    rig.desk.switch_on(Fault("create", "answer", status=403, times=None, subject=subject))
    await rig.work()
    return await rig.ask()


async def failing_alone(rig: Rig) -> HookCall:
    """Let a desk that was down answer again, but for one request; return another, later one."""
    call = await rig.ask()
    subject = call.correlation_id
    rig.desk.switch_on(Fault("*", "reset", times=None, subject=subject))
    await rig.program.pause_store.pause("desk", "down", probe_after=SECOND, cause=Cause.UNREACHABLE)
    await tickets_by_second(rig, 65)
    return await rig.ask()


ALONE = pytest.mark.parametrize("fails", [refused_alone, failing_alone])


@ALONE
async def test_who_fails_alone_lets_the_others_try(rig: Rig, fails: Alone) -> None:
    other = await fails(rig)
    await tickets_by_second(rig, 30)
    assert await rig.state(other) is State.PENDING


@ALONE
async def test_without_a_second_wait_it_alone_would_try(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fails: Alone
) -> None:
    """Negative control."""
    wait = Pauses.next_attempt_in
    monkeypatch.setattr(
        Pauses, "next_attempt_in", lambda pauses, name, now, **_: wait(pauses, name, now)
    )
    other = await fails(rig)
    await tickets_by_second(rig, 30)
    assert await rig.state(other) is State.RECEIVED


async def test_who_asks_for_a_longer_wait_is_given_it(rig: Rig) -> None:
    """Whoever looks at a destination that is down, and is told when to come again, comes then."""
    await rig.ask()
    rig.desk.switch_on(Fault("create", "answer", status=429, retry_after="300"))
    await rig.program.pause_store.pause("desk", "down", probe_after=SECOND, cause=Cause.UNREACHABLE)
    await rig.work(after=2 * SECOND)
    assert await due_in(rig) == 5 * MINUTE
