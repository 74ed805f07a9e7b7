"""What each event changes in a record and in its texts, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.domain.events.base import Event, GivenUp, Held, Postponed
from proxy.domain.events.callback import CallbackAccepted, CallbackNotSent, CallbackStarted
from proxy.domain.events.notifications import Announced, TicketNotified
from proxy.domain.events.operator import Refreshed, Rerouted, Retried
from proxy.domain.events.recovery import CreateInDoubt, Restored, sent_again
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
from proxy.domain.models import Decision, Details, Fulfilment, Record, State, Ticket

S = State
BUSY = Record(
    "ar1",
    S.PENDING,
    "main",
    "desk",
    "r1",
    "c",
    "x",
    0,
    1_000_000,
    run_id="run",
    attempt=3,
    waited=9_000,
    sent_at=4,
    ticket_id="1001",
    ticket_key="DESK-1",
    native_status="new",
    polls=5,
    missing=2,
    callbacks_sent=2,
    key_fields="digest",
    refused_at=6,
    refusals=1,
    code="why",
    resume_state=S.OPENING,
    finished_at=5,
)
GOOD = {"code": "", "resume_state": None}
RESTED = {"attempt": 0, "waited": 0, "refused_at": 0, "refusals": 0}
LATER = {"code": "later", "attempt": 4, "waited": 9_500, "waited_before_code": 9_000}
NO_TICKET = {"ticket_id": "", "ticket_key": "", "sent_at": 0}
TICKET = Ticket("7", "DESK-7", "https://desk/7", "in_review", key_fields="other")
APPROVED = Decision.APPROVED


def late(kind: type[Postponed], **more: Any) -> Postponed:
    return kind(at=7, code="later", reason="down", delay=500, **more)


def decided(**more: Any) -> Decided:
    return Decided(at=7, decision=APPROVED, by="olga", **more)


def restored() -> Restored:
    return Restored(at=7, by="doctor", reason="lost")


def doubted() -> CreateInDoubt:
    return CreateInDoubt(at=7, run_id="another", reason="restarted")


OPEN: dict[str, Any] = {"ticket_id": "", "finished_at": 0, "ticket_notice_due": 0}
BY_ALICE: dict[str, Any] = {"at": 7, "by": "alice", "reason": "checked"}
ENDED = {**GOOD, "decision": APPROVED, "decided_by": "olga", "decided_at": 7}
AGAIN = {**GOOD, **RESTED, "missing": 0, "finished_at": 0}


@pytest.mark.parametrize(
    ("before", "event", "changes"),
    [
        ({}, CreateStarted(at=7), {**GOOD, "sent_at": 7}),
        ({}, Postponed(at=7, code="later", reason="down"), {"code": "later"}),
        ({}, late(Postponed), LATER),
        ({}, late(Postponed, refused=True), {**LATER, "refused_at": 7, "refusals": 2}),
        ({"state": S.HELD}, late(Postponed), {**LATER, "code": "why"}),
        ({"state": S.DEAD}, late(Postponed), {**LATER, "code": "why"}),
        ({}, late(CreateNotSent), {**LATER, "sent_at": 0}),
        ({}, late(CallbackNotSent), {**LATER, "callbacks_sent": 1}),
        ({}, late(TicketMissing), {**LATER, "missing": 3}),
        (
            {},
            TicketOpened(at=7, ticket=TICKET),
            {
                **GOOD,
                "ticket_id": "7",
                "ticket_key": "DESK-7",
                "native_status": "in_review",
                "polls": 0,
                "missing": 0,
            },
        ),
        (
            {},
            TicketRead(at=7, ticket=TICKET),
            {
                **GOOD,
                **RESTED,
                "ticket_key": "DESK-7",
                "native_status": "in_review",
                "polls": 6,
                "missing": 0,
            },
        ),
        (
            {"key_fields": ""},
            TicketRead(at=7, ticket=Ticket("7", "", native_status="new", key_fields="first")),
            {**GOOD, **RESTED, "key_fields": "first", "polls": 6, "missing": 0},
        ),
        ({}, decided(), ENDED),
        ({}, decided(native_status="done"), {**ENDED, "native_status": "done"}),
        (
            {},
            decided(without_ticket=True),
            {**ENDED, "decided_without_ticket": 1, "ticket_notice_due": 1},
        ),
        (
            {"ticket_id": ""},
            decided(without_ticket=True),
            {**ENDED, "decided_without_ticket": 1, "ticket_notice_due": 1},
        ),
        (
            {"sent_at": 0},
            decided(without_ticket=True),
            {**ENDED, "decided_without_ticket": 1, "ticket_notice_due": 1},
        ),
        (NO_TICKET, decided(without_ticket=True), {**ENDED, "decided_without_ticket": 1}),
        (
            {},
            FulfilmentAwaited(at=7, by=99),
            {**GOOD, "fulfilment": Fulfilment.WAITING, "fulfil_by": 99, "polls": 0},
        ),
        (
            {},
            Fulfilled(at=7, fulfilment=Fulfilment.FULFILLED),
            {**GOOD, **RESTED, "fulfilment": Fulfilment.FULFILLED},
        ),
        (
            {},
            Fulfilled(at=7, fulfilment=Fulfilment.FAILED, native_status="closed"),
            {**GOOD, **RESTED, "fulfilment": Fulfilment.FAILED, "native_status": "closed"},
        ),
        ({}, CallbackStarted(at=7, body="{}"), {"callbacks_sent": 3}),
        ({}, CallbackAccepted(at=7), {**GOOD, "finished_at": 7}),
        ({"ticket_notice_due": 1}, CallbackAccepted(at=7), {**GOOD, "finished_at": 7}),
        (
            {},
            CallbackAccepted(at=7, write_back=True),
            {**GOOD, "finished_at": 7, "ticket_notice_due": 1},
        ),
        (NO_TICKET, CallbackAccepted(at=7, write_back=True), {**GOOD, "finished_at": 7}),
        (
            {},
            GivenUp(at=7, code="c", reason="r"),
            {"resume_state": S.PENDING, "code": "c", "finished_at": 0},
        ),
        ({"state": S.HELD}, GivenUp(at=7, code="c", reason="r"), {"code": "c", "finished_at": 0}),
        (
            {"decision": APPROVED},
            GivenUp(at=7, code="c", reason="r"),
            {"resume_state": S.PENDING, "code": "c", "finished_at": 7},
        ),
        (
            {"decision": APPROVED},
            Held(at=7, code="c", reason="r"),
            {"resume_state": S.PENDING, "code": "c", "finished_at": 0},
        ),
        (
            {},
            Held(at=7, code="c", reason="r", deadline_fired=True),
            {"resume_state": S.PENDING, "code": "c", "finished_at": 0, "deadline_fired": 1},
        ),
        (
            {"deadline_fired": 1},
            Held(at=7, code="c", reason="r"),
            {"resume_state": S.PENDING, "code": "c", "finished_at": 0},
        ),
        ({}, Retried(**BY_ALICE), AGAIN),
        ({}, Retried(**BY_ALICE, no_ticket=True), {**AGAIN, "sent_at": 0, "run_id": ""}),
        ({}, Refreshed(**BY_ALICE), {"polls": 0}),
        (
            {},
            Rerouted(**BY_ALICE, route="r2", system="jira"),
            {**AGAIN, "route": "r2", "system": "jira"},
        ),
        ({}, Announced(at=7), {"announced": 1}),
        (
            {"ticket_notice_due": 1},
            TicketNotified(at=7, note="withdrawn"),
            {**GOOD, "ticket_notice_due": 0},
        ),
        ({}, restored(), {"polls": 0, "missing": 0}),
        (OPEN, restored(), {"polls": 0, "missing": 0, "sent_at": 7}),
        (
            {"ticket_id": "", "decision": APPROVED, "callbacks_sent": 0},
            restored(),
            {"polls": 0, "missing": 0, "callbacks_sent": 1},
        ),
        ({"decision": APPROVED}, restored(), {"polls": 0, "missing": 0}),
        (
            {"decision": APPROVED, "callbacks_sent": 0, "state": S.DONE},
            restored(),
            {"polls": 0, "missing": 0},
        ),
        (
            {**OPEN, "state": S.HELD, "resume_state": S.RECEIVED},
            restored(),
            {"polls": 0, "missing": 0, "sent_at": 7, "resume_state": S.OPENING},
        ),
        ({"state": S.DEAD, "resume_state": S.PENDING}, restored(), {"polls": 0, "missing": 0}),
        (
            {**OPEN, "resume_state": S.RECEIVED},
            restored(),
            {"polls": 0, "missing": 0, "sent_at": 7},
        ),
        ({"resume_state": S.RECEIVED}, restored(), {"polls": 0, "missing": 0}),
        (OPEN, doubted(), {"run_id": "another", "sent_at": 7}),
        (
            {**OPEN, "state": S.DEAD, "resume_state": S.OPENING},
            doubted(),
            {"run_id": "another", "sent_at": 7, "resume_state": S.OPENING},
        ),
        (
            {**OPEN, "decision": APPROVED, "decided_without_ticket": 1},
            doubted(),
            {"run_id": "another", "sent_at": 7, "ticket_notice_due": 1},
        ),
        ({**OPEN, "decision": APPROVED}, doubted(), {"run_id": "another"}),
        ({**OPEN, "system": ""}, doubted(), {"run_id": "another"}),
        ({}, doubted(), {"run_id": "another"}),
    ],
    ids=str,
)
def test_an_event_changes_its_fields_and_no_others(
    before: dict[str, Any], event: Event, changes: dict[str, Any]
) -> None:
    record = replace(BUSY, **before)
    assert event.apply(record) == replace(record, **changes)


TEXTS = Details("why", "https://desk/1", "their comment", "DESK-1: new", "{old}")


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (CreateStarted(at=7), {"reason": ""}),
        (late(Postponed), {"reason": "down"}),
        (TicketOpened(at=7, ticket=TICKET), {"reason": "", "ticket_url": "https://desk/7"}),
        (TicketRead(at=7, ticket=TICKET), {"reason": "", "ticket_url": "https://desk/7"}),
        (TicketRead(at=7, ticket=Ticket("7", "")), {"reason": ""}),
        (
            decided(comment="fine", evidence="DESK-1: done"),
            {"reason": "", "comment": "fine", "evidence": "DESK-1: done"},
        ),
        (Fulfilled(at=7, fulfilment=Fulfilment.FULFILLED), {"reason": ""}),
        (
            Fulfilled(at=7, fulfilment=Fulfilment.FAILED, evidence="failed, says alice"),
            {"reason": "", "evidence": "DESK-1: new; failed, says alice"},
        ),
        (CallbackStarted(at=7, body="{}"), {"callback": "{}"}),
        (CallbackAccepted(at=7, note="it arrived before"), {"reason": "it arrived before"}),
        (GivenUp(at=7, code="c", reason="r"), {"reason": "r"}),
        (Retried(**BY_ALICE), {"reason": ""}),
        (Refreshed(**BY_ALICE), {}),
        (Announced(at=7), {}),
        (TicketNotified(at=7, note="withdrawn"), {}),
        (restored(), {}),
    ],
    ids=str,
)
def test_an_event_writes_what_it_says(event: Event, changes: dict[str, Any]) -> None:
    assert event.write(TEXTS) == replace(TEXTS, **changes)


@pytest.mark.parametrize(
    ("history", "again"),
    [
        ("", False),
        ("Sending Opened", False),
        ("Sending NotSent Sending Opened", False),
        ("Sending Sending", True),
        ("Sending Postponed Sending Opened", True),
        ("Sending Postponed NotSent Sending", False),
        ("Sending NotSent Postponed Sending", False),
        ("Postponed Sending", False),
    ],
)
def test_a_create_is_sent_again_while_the_one_before_is_in_doubt(
    history: str,
    again: bool,  # noqa: FBT001
) -> None:
    assert sent_again(history.split()) is again
