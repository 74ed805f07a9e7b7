"""Lists of changes: hints for everything that changed, one question per interval in total."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from proxy.change_poller import AHEAD, FIRST_LOOK, ChangePoller
from proxy.domain.models import State
from proxy.engine.pauses import Pauses
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.simulators.faults import Fault
from proxy.store.changes import PollTurns
from tests.conftest import OpenRig
from tests.support.rig import Rig

SECOND = 1_000
EVERY = 30 * SECOND
OVERLAP = 10 * SECOND


@dataclass
class Desk:
    """A ticket system as far as lists of changes go: what it was asked, and what it answers."""

    answer: Mapping[str, int] | ProxyError = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    overlap: int = OVERLAP

    async def changes(self, since: int) -> Mapping[str, int]:
        self.asked.append(since)
        if isinstance(self.answer, ProxyError):
            raise self.answer
        return {ref: at for ref, at in self.answer.items() if at >= since}


def listing(rig: Rig, desk: Desk) -> ChangePoller:
    """Return the lister of one more process."""
    program = rig.program
    pauses = Pauses(
        store=program.pause_store,
        alarms=program.alarms,
        clock=rig.clock,
        share=9,
    )
    return ChangePoller(
        systems={"desk": desk},
        flow=program.flow,
        turns=PollTurns(program.store),
        pauses=pauses,
        alarms=program.alarms,
        interval=EVERY,
    )


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def seldom(open_rig: OpenRig) -> AsyncIterator[Rig]:
    """A program that reads tickets once a day by itself, at a desk whose events are lost."""
    poll = {"first": "1d", "slowest": "1d", "safety_net": "1d"}
    async with open_rig(routes=[{"name": "default", "system": "desk", "poll": poll}]) as rig:
        rig.desk.switch_on(Fault("event", "lose", times=None))
        yield rig


async def test_a_ticket_that_changed_is_read_and_decides(seldom: Rig, desk: Desk) -> None:
    call = await seldom.ask()
    await seldom.work()
    ticket = seldom.tickets()[0]["id"]
    seldom.desk.decide(ticket, "approved")
    await seldom.work(after=SECOND)
    assert await seldom.state(call) is State.PENDING  # nobody told us
    desk.answer = {ticket: seldom.clock.now(), "a stranger": seldom.clock.now()}
    await listing(seldom, desk).poll()
    await seldom.work()
    assert await seldom.state(call) is State.DONE


async def test_a_change_is_hinted_once_however_often_the_overlap_shows_it(
    seldom: Rig, desk: Desk
) -> None:
    await seldom.ask()
    await seldom.work()
    lister, ticket, reads = listing(seldom, desk), seldom.tickets()[0]["id"], []
    now = seldom.clock.now()
    for at in (now, now, now, now + 1):
        desk.answer = {ticket: at}
        await lister.poll()
        await seldom.work()
        reads.append(len(seldom.desk.journal.of("read")))
        seldom.clock.advance(EVERY)
    assert reads == [1, 1, 1, 2]


async def test_all_processes_together_ask_once_per_interval(rig: Rig, desk: Desk) -> None:
    processes = [listing(rig, desk) for _ in range(3)]
    for _ in range(4):
        waits = [await each.poll() for each in processes]
        assert all(0 < wait <= EVERY for wait in waits)
        rig.clock.advance(EVERY)
    assert len(desk.asked) == 4


async def test_the_first_question_goes_back_a_day_and_the_next_to_the_newest_change(
    rig: Rig, desk: Desk
) -> None:
    now = rig.clock.now()
    desk.answer = {"1": now - 5 * SECOND, "2": now - 90 * SECOND}
    await listing(rig, desk).poll()
    rig.clock.advance(EVERY)
    await listing(rig, desk).poll()  # another process goes on where the first one stopped
    assert desk.asked == [now - FIRST_LOOK - OVERLAP, now - 5 * SECOND - OVERLAP]


async def test_what_failed_is_asked_again_from_the_same_moment(rig: Rig, desk: Desk) -> None:
    lister, now = listing(rig, desk), rig.clock.now()
    desk.answer = {"1": now}
    await lister.poll()
    desk.answer = TemporaryError("no answer")
    for _ in range(3):
        rig.clock.advance(EVERY)
        await lister.poll()
    desk.answer = {}
    rig.clock.advance(EVERY)
    await lister.poll()
    assert desk.asked[1:] == [now - OVERLAP] * 4
    text = rig.program.metrics.text().decode()
    assert 'changes_unreadable"} 1.0' in text  # said once, not once per interval


async def test_a_clock_that_is_ahead_hides_nothing(rig: Rig, desk: Desk) -> None:
    """A time far in the future must not become the moment from which everything is asked."""
    lister, now = listing(rig, desk), rig.clock.now()
    desk.answer = {"1": now + 10 * FIRST_LOOK}
    await lister.poll()
    rig.clock.advance(EVERY)
    await lister.poll()
    assert desk.asked[1] == now + AHEAD - OVERLAP


async def test_a_refused_list_pauses_the_system_until_it_works_again(rig: Rig, desk: Desk) -> None:
    lister = listing(rig, desk)
    desk.answer = ConfigurationError("the scope is missing")
    await lister.poll()
    assert (await rig.program.pause_store.pauses())["desk"].since
    desk.answer = {}
    rig.clock.advance(EVERY)
    await lister.poll()
    assert not (await rig.program.pause_store.pauses())["desk"].since


async def test_a_list_that_alone_is_refused_pauses_the_system_once(rig: Rig, desk: Desk) -> None:
    """Our account may do all but list: that must not stop the rest again each interval."""
    changes = listing(rig, desk)
    desk.answer = ConfigurationError("may not search", request_specific=True)
    for _ in range(4):
        await changes.poll()
        await rig.ask()
        await rig.work(after=EVERY)
    await rig.work(after=EVERY)
    assert len(rig.tickets()) == 4
    text = rig.program.metrics.text().decode()
    assert 'destination_paused"} 1.0' in text
    assert 'changes_unreadable"} 1.0' in text
