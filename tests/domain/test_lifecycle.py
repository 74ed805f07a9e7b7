"""The table of transitions, by example and by random histories."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.events import notifications, operator
from proxy.domain.events.base import ACTIVE, Event, GivenUp, Held, Postponed
from proxy.domain.events.callback import CallbackAccepted, CallbackNotSent, CallbackStarted
from proxy.domain.events.operator import Retried
from proxy.domain.events.recovery import CreateInDoubt, Restored
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
from proxy.domain.lifecycle import TRANSITIONS, advance, advance_entry
from proxy.domain.models import Decision, Details, Fulfilment, Record, State, StoredRequest, Ticket
from proxy.errors import IllegalTransitionError

NEW = Record("ar1", State.RECEIVED, "main", "desk", "r", "c", "x", 0, 1_000_000)
TICKET = Ticket("1001", "DESK-1", "https://desk/1001", "new")

SAMPLES: dict[type[Event], dict[str, Any]] = {
    CreateStarted: {},
    CreateNotSent: {"code": "c", "reason": "r", "delay": 5},
    TicketOpened: {"ticket": TICKET},
    TicketRead: {"ticket": TICKET},
    TicketMissing: {"code": "c", "reason": "r", "delay": 5},
    Decided: {"decision": Decision.APPROVED},
    FulfilmentAwaited: {"by": 99},
    Fulfilled: {"fulfilment": Fulfilment.FULFILLED},
    CallbackStarted: {"body": "{}"},
    CallbackNotSent: {"code": "c", "reason": "r", "delay": 5},
    CallbackAccepted: {},
    Postponed: {"code": "c", "reason": "r", "delay": 5},
    Held: {"code": "c", "reason": "r"},
    GivenUp: {"code": "c", "reason": "r"},
    Retried: {"by": "alice", "reason": "r"},
    operator.Refreshed: {"by": "alice", "reason": "r"},
    operator.Rerouted: {"by": "alice", "reason": "r", "route": "r2", "system": "desk"},
    notifications.Announced: {},
    notifications.TicketNotified: {"note": "withdrawn"},
    CreateInDoubt: {"run_id": "another", "reason": "r"},
    Restored: {"by": "doctor", "reason": "r"},
}


def sample(kind: type[Event], at: int = 7, **fields: Any) -> Event:
    return kind(**{**SAMPLES[kind], "at": at, **fields})


def run(*kinds: type[Event]) -> Record:
    record = NEW
    for kind in kinds:
        record = advance(record, sample(kind))
    return record


TABLE = """
                   received  opening   pending  decided     fulfilling  done  held     dead
Sending            opening   opening   -        -           -           -     -        -
NotSent            -         received  -        -           -           -     -        -
Opened             pending   pending   late     late        late        late  pending  pending
Read               -         -         pending  late        fulfilling  late  late     late
Missing            -         -         pending  -           fulfilling  -     -        -
Announced          -         -         pending  -           -           -     -        -
Decided            decided   decided   decided  late        late        late  decided  decided
FulfilmentAwaited  -         -         -        fulfilling  -           -     -        -
Fulfilled          -         -         -        -           fulfilling  late  back     back
CallingBack        -         -         -        decided     fulfilling  -     -        -
CalledBack         -         -         -        done        done        -     -        -
Postponed          received  opening   pending  decided     fulfilling  done  held     dead
Uncalled           -         -         -        decided     fulfilling  -     -        -
Held               held      held      held     held        held        -     held     held
Died               dead      dead      dead     dead        dead        -     dead     -
Retried            -         -         -        -           -           -     back     back
Refreshed          received  opening   pending  decided     fulfilling  -     -        -
Rerouted           received  opening   pending  -           -           -     back     back
Told               -         -         -        -           -           done  -        -
Doubted            opening   opening   -        decided     -           -     held     dead
Restored           opening   opening   pending  decided     fulfilling  done  held     dead
"""


def test_the_table_says_what_is_written_here() -> None:
    """Every pair, as a person reads it: the tests of single ways meet only some of them."""
    states, *rows = (line.split() for line in TABLE.strip().splitlines())
    assert {kind.event_code: row for kind, row in TRANSITIONS.items()} == {
        name: {state: to for state, to in zip(states, targets, strict=True) if to != "-"}
        for name, *targets in rows
    }
    assert set(states) == set(State)


def test_every_event_has_a_sample() -> None:
    assert set(TRANSITIONS) == set(SAMPLES)


def test_the_straight_way() -> None:
    record = run(CreateStarted, TicketOpened, Decided, CallbackStarted, CallbackAccepted)
    assert record.state is State.DONE
    assert record.final
    assert (record.ticket_id, record.decision, record.callbacks_sent) == (
        "1001",
        Decision.APPROVED,
        1,
    )


def test_the_way_over_fulfilment() -> None:
    waiting = run(CreateStarted, TicketOpened, Decided, FulfilmentAwaited)
    assert waiting.fulfilment is Fulfilment.WAITING
    assert (
        run(
            CreateStarted, TicketOpened, Decided, FulfilmentAwaited, Fulfilled, CallbackAccepted
        ).state
        is State.DONE
    )


@pytest.mark.parametrize("kind", list(SAMPLES))
@pytest.mark.parametrize("state", list(State))
def test_a_pair_that_makes_no_sense_raises(kind: type[Event], state: State) -> None:
    record = replace(NEW, state=state)
    if state in TRANSITIONS[kind]:
        advance(record, sample(kind))
    else:
        says = f"{kind.event_code} makes no sense for request ar1, which is {state}"
        with pytest.raises(IllegalTransitionError, match=says):
            advance(record, sample(kind))


def test_the_first_decision_wins_and_a_different_one_is_counted() -> None:
    decided = run(CreateStarted, TicketOpened, Decided)
    assert advance(decided, sample(Decided)) is decided
    contradicted = advance(decided, sample(Decided, decision=Decision.REJECTED))
    assert contradicted == replace(decided, conflicts=1)


def test_a_late_event_changes_nothing() -> None:
    done = run(CreateStarted, TicketOpened, Decided, CallbackAccepted)
    assert advance(done, sample(TicketOpened, ticket=Ticket("9", "X-9"))) is done
    entry = StoredRequest(done, Details(reason="kept"), b"")
    assert advance_entry(entry, sample(TicketRead)) == entry


@pytest.mark.parametrize(
    "way", [(CreateStarted, TicketOpened), (CreateStarted, TicketOpened, Decided)]
)
def test_a_new_stage_begins_with_a_clean_count_of_failures(way: tuple[type[Event], ...]) -> None:
    tired = replace(run(*way[:-1]), attempt=3, waited=9_000, refused_at=7, refusals=2)
    fresh = advance(tired, sample(way[-1]))
    assert (fresh.attempt, fresh.waited, fresh.refused_at, fresh.refusals) == (0, 0, 0, 0)


def test_texts_follow_what_happens_and_not_what_comes_late() -> None:
    pending = StoredRequest(run(CreateStarted, TicketOpened), Details(reason="old"), b"payload")
    decided = advance_entry(pending, sample(Decided, comment="fine", evidence="DESK-1: new"))
    assert decided.record == run(CreateStarted, TicketOpened, Decided)
    assert (decided.details.comment, decided.details.evidence) == ("fine", "DESK-1: new")
    assert decided.payload == b"payload"

    contradicted = advance_entry(decided, sample(Decided, decision=Decision.REJECTED, comment="no"))
    assert contradicted == replace(decided, record=replace(decided.record, conflicts=1))


def test_what_waits_for_a_person_keeps_its_reason() -> None:
    held = advance_entry(
        StoredRequest(run(CreateStarted, TicketOpened), Details(), b""), sample(Held, reason="why")
    )
    assert held.details.reason == "why"
    waiting = advance_entry(held, sample(Postponed, reason="unreachable"))
    assert waiting.details.reason == "why"
    assert waiting.record == advance(held.record, sample(Postponed, reason="unreachable"))
    pending = StoredRequest(run(CreateStarted, TicketOpened), Details(), b"")
    assert advance_entry(pending, sample(Postponed, reason="later")).details.reason == "later"


@pytest.mark.parametrize("aside", [Held, GivenUp])
@pytest.mark.parametrize(
    "way",
    [(), (CreateStarted,), (CreateStarted, TicketOpened), (CreateStarted, TicketOpened, Decided)],
)
def test_what_is_set_aside_returns_to_where_it_was(
    aside: type[Event], way: tuple[type[Event], ...]
) -> None:
    before = run(*way)
    back = advance(advance(before, sample(aside)), sample(Retried))
    assert back.state is before.state
    assert (back.code, back.attempt, back.finished_at) == ("", 0, 0)


def test_setting_aside_twice_keeps_the_first_place() -> None:
    record = advance(run(CreateStarted, TicketOpened, Held), sample(GivenUp))
    assert (record.state, record.resume_state) == (State.DEAD, State.PENDING)


def test_an_operator_who_vouches_that_no_ticket_exists_allows_a_new_create() -> None:
    held = run(CreateStarted, Held)
    back = advance(held, sample(Retried, no_ticket=True))
    assert (back.state, back.sent_at, back.run_id) == (State.RECEIVED, 0, "")
    assert advance(held, sample(Retried)).state is State.OPENING


def test_a_pause_of_the_destination_uses_up_nothing() -> None:
    paused = advance(NEW, sample(Postponed, delay=0))
    assert (paused.attempt, paused.waited, paused.code) == (0, 0, "c")
    failed = advance(paused, sample(Postponed, delay=500))
    assert (failed.attempt, failed.waited) == (1, 500)


def test_a_request_set_aside_keeps_its_reason_while_its_deadline_waits() -> None:
    held = StoredRequest(run(Held), Details(reason="look here"), b"")
    held = replace(held, record=replace(held.record, code="why"))
    later = advance_entry(held, sample(Postponed, code="unreachable", reason="down"))
    assert (later.record.code, later.details.reason) == ("why", "look here")


def test_a_callback_without_effect_is_not_counted() -> None:
    called = run(CreateStarted, TicketOpened, Decided, CallbackStarted)
    assert called.callbacks_sent == 1
    assert advance(called, sample(CallbackNotSent)).callbacks_sent == 0
    assert advance(called, sample(Postponed)).callbacks_sent == 1


def test_a_dead_request_is_final_only_after_its_decision() -> None:
    assert not run(CreateStarted, GivenUp).final
    assert run(CreateStarted, TicketOpened, Decided, GivenUp).final


@given(st.lists(st.sampled_from(sorted(SAMPLES, key=lambda kind: kind.event_code)), max_size=30))
def test_random_histories_never_lose_a_decision(kinds: list[type[Event]]) -> None:
    record, decided = NEW, None
    for number, kind in enumerate(kinds):
        fields = {"decision": list(Decision)[number % 5]} if kind is Decided else {}
        event = sample(kind, at=number + 1, **fields)
        try:
            after = advance(record, event)
        except IllegalTransitionError:
            continue
        assert advance(record, event) == after, "not a function of record and event"
        if decided is not None:
            assert after.decision is decided
        if after.state in {State.DECIDED, State.FULFILLING, State.DONE}:
            assert after.decision is not None
        if after.state in {State.HELD, State.DEAD}:
            assert after.resume_state in ACTIVE
        assert after.attempt >= 0
        record, decided = after, after.decision


@pytest.mark.parametrize("kind", [CreateInDoubt, Restored])
def test_what_may_lack_a_create_is_in_doubt(kind: type[Event]) -> None:
    received = advance(NEW, sample(kind))
    assert (received.state, received.sent_at) == (State.OPENING, 7)
    held = advance(run(Held), sample(kind))
    assert (held.resume_state, held.sent_at) == (State.OPENING, 7)
    cancelled = advance(advance(NEW, sample(Decided, without_ticket=True)), sample(kind))
    assert (cancelled.sent_at, cancelled.ticket_notice_due) == (7, 1)
    refused = advance(run(Decided), sample(kind))
    assert (refused.sent_at, refused.ticket_notice_due) == (0, 0), (
        "certainly no ticket: that decided"
    )
    at_once = advance(replace(cancelled, system="", sent_at=0, ticket_notice_due=0), sample(kind))
    assert (at_once.sent_at, at_once.ticket_notice_due) == (0, 0), "there is no ticket system"


def test_a_restored_request_is_in_doubt() -> None:
    """The audit may lack the last that happened: a create, or a callback, may have been sent."""
    restored = advance(NEW, sample(Restored))
    assert (restored.state, restored.sent_at) == (State.OPENING, 7)
    held = advance(run(Held), sample(Restored))
    assert (held.state, held.resume_state, held.sent_at) == (State.HELD, State.OPENING, 7)
    pending = advance(run(CreateStarted, TicketOpened), sample(Restored))
    assert (pending.state, pending.ticket_id) == (State.PENDING, "1001")
    decided = run(CreateStarted, TicketOpened, Decided)
    assert (advance(decided, sample(Restored)).callbacks_sent, decided.callbacks_sent) == (1, 0)
    done = run(CreateStarted, TicketOpened, Decided, CallbackStarted, CallbackAccepted)
    assert advance(done, sample(Restored)) == done
