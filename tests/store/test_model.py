"""The real Lua steps against the pure model: whatever happens in whatever order, they agree.

`make model` plays many more examples than the suite does.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from proxy.domain.events.base import Event, GivenUp, Held, Postponed
from proxy.domain.events.callback import CallbackAccepted, CallbackStarted
from proxy.domain.events.operator import Refreshed, Rerouted, Retried
from proxy.domain.events.ticket import (
    CreateNotSent,
    CreateStarted,
    Decided,
    Fulfilled,
    FulfilmentAwaited,
    TicketMissing,
    TicketOpened,
    TicketRead,
)
from proxy.domain.lifecycle import TRANSITIONS, advance_entry
from proxy.domain.models import Decision, Fulfilment, Record, State, StoredRequest, Ticket
from proxy.domain.replace import replace
from proxy.domain.schedule import DAY, SECOND
from proxy.errors import StaleError, SupersededError
from proxy.store.client import pipeline
from proxy.store.client.connections import connect
from proxy.store.codec import history_entry
from proxy.store.keys import Keys
from proxy.store.pauses import BACK_PER_SECOND, PauseStore
from proxy.store.requests import Admission, RequestStore
from tests.support.faults.removals import without
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.servers import start_server
from tests.support.store_model import Model

EXAMPLES: Final = int(os.environ.get("MODEL_EXAMPLES", "12"))
STEPS: Final = 40
PARTITIONS: Final = 2
LEASE: Final = 60_000
URLS: Final = [f"https://witboost.example.com/api/actionHandler/{number}" for number in range(4)]

Answer = TypeVar("Answer")
Make = Callable[[int, Any, StoredRequest], Event]

BY_WORK: Final[tuple[Make, ...]] = (
    lambda at, _, __: CreateStarted(at=at),
    lambda at, _, __: CreateNotSent(at=at, code="late", reason="x", delay=1),
    lambda at, _, entry: TicketOpened(at=at, ticket=_ticket_of(entry.record.id)),
    lambda at, _, entry: TicketRead(at=at, ticket=_ticket_of(entry.record.id)),
    lambda at, _, __: TicketMissing(at=at, code="ticket_missing", reason="x", delay=1),
    lambda at, draw, _: Decided(at=at, decision=draw(some.sampled_from(Decision))),
    lambda at, _, __: FulfilmentAwaited(at=at, by=at + SECOND),
    lambda at, _, __: Fulfilled(at=at, fulfilment=Fulfilment.FULFILLED),
    lambda at, _, __: CallbackStarted(at=at, body="{}"),
    lambda at, _, __: CallbackAccepted(at=at, write_back=True),
    lambda at, _, __: Postponed(at=at, code="unreachable", reason="x", delay=SECOND),
    lambda at, _, __: Held(at=at, code="guarded", reason="x"),
    lambda at, _, __: GivenUp(at=at, code="gave_up", reason="x"),
)
BY_OPERATOR: Final[tuple[Make, ...]] = (
    lambda at, _, __: Retried(at=at, by="alice", reason="x"),
    lambda at, _, __: Refreshed(at=at, by="alice", reason="x"),
    lambda at, _, entry: Rerouted(
        at=at, by="alice", reason="x", route="r2", system=_another_system(entry.record)
    ),
    lambda at, _, __: Decided(at=at, decision=Decision.CANCELLED, by="alice", without_ticket=True),
)


class StoreMachine(RuleBasedStateMachine):
    """Everything that can happen to the store; `url` is set by the test."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.client = connect(self.url)
        self.store = RequestStore(
            self.client, namespace="model", partitions=PARTITIONS, clock=self.clock
        )
        self.pause_store = PauseStore(self.store)
        self.model = Model(Keys("model", PARTITIONS))
        self.held: list[StoredRequest] = []
        # the same ids in every example, or hypothesis could not repeat one
        self.store._bits = (f"{number:020x}" for number in itertools.count())
        self._run(self.client.flushall())

    @override
    def teardown(self) -> None:
        """Close what this example opened."""
        self._run(self.store.batcher.close())
        self._run(self.client.aclose())
        self.runner.close()

    # -- what happens --------------------------------------------------------------------------

    @rule(
        url=some.sampled_from(URLS),
        content=some.sampled_from(["a", "b"]),
        reuse=some.booleans(),
        again=some.booleans(),
    )
    def admit(self, url: str, content: str, *, reuse: bool, again: bool) -> None:
        """A hook call comes; its reply may be lost, and redis-py repeats the step."""
        admission = Admission(
            respond_to=url,
            content=content,
            body=b"{}",
            request_id="r",
            instance="main",
            client="witboost",
            system="desk",
            route="r1",
            decision_deadline=30 * SECOND,
            reuse_after_final=reuse,
        )
        verdict, stands = self.model.admit(url, content, reuse=reuse)
        admitted = self._run(self.store.admit(admission))
        assert admitted.verdict == verdict
        assert stands in (None, admitted.id)
        if verdict == "new":
            entry = self._run(self.store.load(admitted.id))
            assert entry is not None
            record = entry.record
            assert (record.state, record.fence) == (State.RECEIVED, 0)
            assert (record.admitted_at, record.deadline_at) == (
                self.clock.now(),
                self.clock.now() + 30 * SECOND,
            )
            self.model.admitted(record, url, content)
        if again:
            repeated = self._run(self.store.admit(admission))
            assert repeated.id == admitted.id
            assert repeated.verdict == ("same" if verdict == "new" else verdict)

    @rule(limit=some.sampled_from([2, 4]), again=some.booleans())
    def claim(self, limit: int, *, again: bool) -> None:
        """A worker takes what is due; its reply may be lost as well."""
        with self._operation() as token:
            expected = self.model.claim(self.clock.now(), token, limit, LEASE)
            claims = [
                self._run(self.store.claim(worker="w", limit=limit, lease=LEASE))
                for _ in range(1 + again)
            ]
        for claim in claims:
            assert sorted(entry.record.id for entry in claim.entries) == sorted(expected)
            for entry in claim.entries:
                assert entry.record == self.model.kept[entry.record.id].record
        self.held += claims[-1].entries

    @precondition(lambda self: self.held)
    @rule(data=some.data(), due=some.sampled_from(["keep", None, 0, 5, 90]), again=some.booleans())
    def work(self, data: Any, due: Any, *, again: bool) -> None:
        """A worker writes, perhaps long after its lease was lost, perhaps twice."""
        before = data.draw(some.sampled_from(self.held))
        event = self._event(data, before, BY_WORK)
        if event is None:
            return
        self.held.remove(before)
        if due is None and not _waits_for_a_person(advance_entry(before, event).record):
            due = 5  # whoever writes it says when to go on
        at = self.clock.now() + due * SECOND if isinstance(due, int) else due
        written = self._commit(before, event, at, again=again)
        if written is not None and due == "keep":
            self.held.append(written)

    @precondition(lambda self: self.model.kept)
    @rule(data=some.data())
    def operate(self, data: Any) -> None:
        """An operator acts on the record as it is, and raises the fence."""
        chosen = data.draw(some.sampled_from(sorted(self.model.kept)))
        before = self._run(self.store.load(chosen))
        assert before is not None
        event = self._event(data, before, BY_OPERATOR)
        if event is not None:
            self._commit(before, event, self.clock.now(), operator=True)

    @precondition(lambda self: self.model.kept)
    @rule(data=some.data(), burst=some.sampled_from([1, 3]))
    def hint(self, data: Any, burst: int) -> None:
        """An event comes."""
        chosen = data.draw(some.sampled_from(sorted(self.model.kept)))
        verdict = self.model.hint(chosen, self.clock.now(), 5 * SECOND, burst)
        hinted = self.store.hint(chosen, interval=5 * SECOND, burst=burst, by="desk")
        assert self._run(hinted) == verdict

    @precondition(lambda self: self.model.kept)
    @rule(data=some.data(), late=some.booleans())
    def expire(self, data: Any, *, late: bool) -> None:
        """Retention ends, also as seen by one who has lost the record meanwhile."""
        chosen = data.draw(some.sampled_from(sorted(self.model.kept)))
        record = self.model.kept[chosen].record
        seen = replace(record, fence=record.fence - late)
        assert self._run(self.store.expire(seen)) == self.model.expire(seen)

    @precondition(lambda self: self.held)
    @rule(due=some.sampled_from([0.005, 5, 90, 7200]))
    def wait(self, due: float) -> None:
        """What workers hold waits for a paused destination, all until the same moment."""
        event = Postponed(at=self.clock.now(), code="paused", reason="x")
        for before in self.held:
            self._commit(before, event, self.clock.now() + int(due * SECOND))
        self.held.clear()

    @precondition(lambda self: self.model.waits_for_anything(self.clock.now()))
    @rule(name=some.sampled_from(["desk", "main", "other"]))
    def resume(self, name: str) -> None:
        """A pause of a destination ends: who waits for it is brought back."""
        assert self._run(self.pause_store.pause(name, "x", probe_after=SECOND))
        assert self._run(self.pause_store.resume(name))
        apart = PARTITIONS * SECOND // BACK_PER_SECOND
        self.model.bring_back(name, self.clock.now(), apart)

    @precondition(lambda self: self.model.kept)
    @rule(data=some.data(), ticket=some.sampled_from(["a", "b"]), again=some.booleans())
    def reserve(self, data: Any, ticket: str, *, again: bool) -> None:
        """An operator wants to attach a ticket, perhaps one that others want as well."""
        chosen = data.draw(some.sampled_from(sorted(self.model.kept)))
        holder = self.model.reserve(ticket, chosen)
        for _ in range(1 + again):
            reserved = self.store.reserve("desk", ticket, chosen, keep=DAY)
            assert self._run(reserved) == holder

    @rule(seconds=some.sampled_from([1, 10, 61]))
    def pass_time(self, seconds: int) -> None:
        """Time jumps; 61 seconds lose every lease."""
        self.clock.advance(seconds * SECOND)

    # -- what must hold after each of them -----------------------------------------------------

    @invariant()
    def indices_equal_records(self) -> None:
        """No index disagrees with the records, and no key is left over."""
        self._run(check_store(self.store))

    @invariant()
    def records_equal_the_model(self) -> None:
        """Every record, due time and history is as the model has it."""
        for name, kept in self.model.kept.items():
            entry = self._run(self.store.load(name))
            assert entry is not None
            assert entry.record == kept.record
            assert len(self._run(self.store.history(name))) == min(kept.lines, 200)
        due = {name: kept.due for name, kept in self.model.kept.items() if kept.due is not None}
        assert self._run(self._due_times()) == due
        assert self._run(self.store.next_due()) == min(due.values(), default=None)

    @invariant()
    def look_ups_equal_the_model(self) -> None:
        """Counts, and the way from a ticket to its request."""
        assert self._run(self.store.counts()) == self.model.states()
        assert self._run(self.store.open_counts()) == self.model.open_counts()
        for ticket in map(_ticket_of, self.model.kept):
            for system in ("desk", "other"):
                wanted = {
                    self.model.tickets.get(f"{system}:{it}") for it in (ticket.id, ticket.key)
                }
                found = self._run(self.store.find(system, [ticket.id, ticket.key]))
                assert set(found) == wanted - {None}

    # -- how -----------------------------------------------------------------------------------

    def _run(self, question: Any) -> Any:
        return self.runner.run(question)

    def _event(self, data: Any, entry: StoredRequest, makers: tuple[Make, ...]) -> Event | None:
        """Draw something that can happen to the record in its state."""
        drawn = [make(self.clock.now(), data.draw, entry) for make in makers]
        possible = [it for it in drawn if entry.record.state in TRANSITIONS[type(it)]]
        return data.draw(some.sampled_from(possible)) if possible else None

    def _commit(
        self,
        before: StoredRequest,
        event: Event,
        due: Any,
        *,
        again: bool = False,
        operator: bool = False,
    ) -> StoredRequest | None:
        after = advance_entry(before, event)
        line = history_entry(event, after.record)
        how: Mapping[str, bool] = {"take_over": operator, "only_newest": operator}
        expected = self.model.commit(before, after, due, lines=1, **how)
        with self._operation():
            answers = [
                self._run(_answer(self.store.commit(before, after, [line], due=due, **how)))
                for _ in range(1 + again)
            ]
        for verdict, _ in answers:
            assert verdict == expected
        written: StoredRequest | None = answers[-1][1]
        return written

    @contextmanager
    def _operation(self) -> Iterator[str]:
        """Give all steps in the block one name, as a repeat after a lost reply has."""
        token = self.store.operation()
        with patch.object(self.store, "operation", lambda: token):
            yield token

    async def _due_times(self) -> dict[str, int]:
        client: Any = self.client
        return {
            member.decode(): int(at)
            for tag in self.store.keys.tags()
            for member, at in await client.zrange(f"{tag}:due", 0, -1, withscores=True)
        }


def _ticket_of(correlation_id: str) -> Ticket:
    number = correlation_id[-6:]
    return Ticket(id=number, key=f"DESK-{number}", native_status="new")


def _another_system(record: Record) -> str:
    """Return where a request may be routed to: with a ticket, it stays where that is."""
    return record.system if record.ticket_id else "other"


def _waits_for_a_person(record: Record) -> bool:
    return record.state is State.HELD and record.decision is not None


async def _answer(writing: Any) -> tuple[str, StoredRequest | None]:
    try:
        return "ok", await writing
    except StaleError:
        return "stale", None
    except SupersededError:
        return "superseded", None


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[StoreMachine]]:
    """The machine on a server of its own, which it empties again and again.

    That the server stands still for a while, on a machine that does more, is no difference.
    """
    folder: Path = tmp_path_factory.mktemp("model")
    with asyncio.Runner() as runner, patch.object(pipeline, "_ANSWERED_WITHIN", 300.0):
        server = runner.run(start_server(folder, fsync="everysec"))
        yield type("Machine", (StoreMachine,), {"url": server.url})
        runner.run(server.close())


def play(machine: type[StoreMachine], examples: int, steps: int, *phases: Phase) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=phases,
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.timeout(0)
def test_the_steps_agree_with_the_model(machine: type[StoreMachine]) -> None:
    play(machine, EXAMPLES, STEPS, Phase.generate, Phase.shrink)


@pytest.mark.parametrize("removed", ["fence", "state index", "ticket reserved", "bringing back"])
def test_a_step_that_lost_a_line_disagrees(machine: type[StoreMachine], removed: str) -> None:
    """Negative control."""
    with without(removed), pytest.raises(AssertionError):
        play(machine, 2_000, STEPS, Phase.generate)
