"""What operators read: every alarm and every log line of a request, word for word."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from proxy.domain.models import ApprovalRequest, Ticket
from proxy.simulators.faults import Fault
from proxy.tickets.rest.system import RestTicketSystem
from tests.conftest import OpenRig
from tests.engine.test_deadlines import expired, limited
from tests.engine.test_operators import act, blind_desk
from tests.engine.test_outages import act as operate
from tests.support.rig import Rig, desk_tree
from tests.support.watching import (
    CALLED_BACK,
    DAY,
    SECOND,
    TICKET,
    TOLD,
    answered,
    at,
    in_doubt,
    opened,
    unreadable,
    watch,
)

FULFILMENT = {"name": "default", "system": "desk", "callback_on": "fulfilment"}


def at_this_desk(rig: Rig, words: str) -> str:
    return words.replace("DESK/", f"{rig.desk.url}/")


# -- what the ticket says ------------------------------------------------------------------------


async def test_a_status_that_the_map_does_not_know_is_named_with_the_map(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.decide("1001", "frozen")
    await watched.work(after=SECOND)
    says = (
        "Ticket DESK-1 has the status 'frozen', which the decision map of desk does not know; the"
        " request stays pending. Add it to the map."
    )
    assert watched.alarms() == [("unknown_native_status", says)]


async def test_a_status_that_means_pending_and_another_key_are_a_line_and_no_alarm(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.decide("1001", "in_review")
    reviewed = {"ticket": {**TICKET, "native_status": "in_review"}}
    assert await watched.work(after=SECOND) == [(SECOND, "Read", "pending", reviewed)]
    ticket = rig.desk.tickets.get("1001")
    assert ticket is not None
    ticket.fields["key"] = "MOVED-1"
    moved = {"ticket": {**reviewed["ticket"], "key": "MOVED-1"}}
    assert await watched.work(after=SECOND) == [(2 * SECOND, "Read", "pending", moved)]
    assert await watched.work(after=1_500) == [], "it is known"
    assert watched.alarms() == []


async def test_an_approval_to_which_two_guards_object_tells_both(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    route = {"name": "default", "system": "desk", "guards": {"own_accounts": ["robot"]}}

    def declare(url: str) -> dict[str, Any]:
        tree = desk_tree(url)
        return {**tree, "ticket": {**tree["ticket"], "key_fields": "[title]"}}

    async with open_rig(routes=[route], declare=declare) as rig:
        watched = await opened(rig, caplog)
        await watched.work(after=SECOND)
        ticket = rig.desk.tickets.get("1001")
        assert ticket is not None
        ticket.fields = {**ticket.fields, "title": "Access to everything"}
        rig.desk.decide("1001", "approved", by="robot")
        [(_, event, _, says)] = await watched.work(after=SECOND)
        assert (event, says["code"]) == ("Held", "guarded")
        assert says["reason"] == (
            "Ticket DESK-1 is approved, but it was approved by our own account robot; what the"
            " ticket asks for was changed after it was opened. `requests release` it, or `requests"
            " reject` it."
        )
        name = f"Request {watched.call.correlation_id} is held"
        assert watched.alarms() == [("request_held", f"{name}: {says['reason']}")]


# -- deadlines -----------------------------------------------------------------------------------


async def test_a_ticket_that_cannot_be_read_at_its_deadline_is_named(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(routes=limited()) as rig:
        watched = await opened(rig, caplog)
        rig.desk.switch_on(Fault("read", "answer", status=500))
        await watched.work(after=DAY)
        says = (
            "Ticket DESK-1 cannot be read although the decision deadline of request"
            f" {watched.call.correlation_id} has passed: {unreadable(500)}"
        )
        unread = ("ticket_unreadable_at_deadline", at_this_desk(rig, says))
        assert watched.alarms() == [unread]


async def test_a_paused_desk_is_not_asked_at_the_deadline_and_decides_after_it(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(routes=limited()) as rig:
        watched = await opened(rig, caplog)
        reads = len(rig.desk.journal.of("read"))
        await operate(rig, "desk", "pause")
        paused = {"code": "paused", "reason": "desk is paused; see its alarm"}
        assert await watched.work(after=DAY) == [(DAY, "Postponed", "pending", paused)]
        assert len(rig.desk.journal.of("read")) == reads
        assert rig.final(watched.call) is None
        await operate(rig, "desk", "resume")
        due = 10 * SECOND
        assert await watched.work(after=due) == at(DAY + due, expired(), CALLED_BACK, TOLD)


@pytest.mark.parametrize(("early", "status"), [(0, 500), (1, 500), (0, 404), (1, 404)])
async def test_a_ticket_that_cannot_be_read_when_its_access_should_be_there(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, early: int, status: int
) -> None:
    """Waited for with an alarm; but who is gone will never say that the access is there."""
    route = {**FULFILMENT, "fulfilment_deadline": "1d", "on_fulfilment_deadline": "hold"}
    async with open_rig(routes=[route]) as rig:
        watched = await opened(rig, caplog)
        rig.desk.decide("1001", "approved")
        await watched.work(after=SECOND)
        rig.desk.switch_on(Fault("read", "answer", status=status))
        [(time, event, _, says)] = await watched.work(after=DAY - early)
        assert time == SECOND + DAY - early
        over, gone = not early, status == 404
        assert event == ("Held" if over and gone else "Postponed")
        if event == "Postponed":
            assert says == {"code": "unreachable", "reason": unreadable(status), "delay": SECOND}
        message = (
            "Ticket DESK-1 cannot be read although the fulfilment deadline of request"
            f" {watched.call.correlation_id} has passed: {unreadable(status)}"
        )
        unread = ("ticket_unreadable_at_deadline", at_this_desk(rig, message))
        assert [it for it in watched.alarms() if it[0] != "request_held"] == (
            [unread] if over and not gone else []
        )


# -- creates -------------------------------------------------------------------------------------


async def test_several_tickets_of_one_request_are_named(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await in_doubt(rig, caplog, made=True)
    rig.desk.tickets.add(rig.tickets()[0], pages=rig.desk.url, now=rig.clock.now() + 1)
    await watched.work(after=7 * SECOND)
    says = (
        f"desk has several tickets for request {watched.call.correlation_id}: DESK-1, DESK-2. The"
        " oldest one is followed; close the others."
    )
    assert watched.alarms() == [("several_tickets", says)]


async def test_a_ticket_that_was_opened_in_another_way_than_wanted_is_followed_and_told(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Jira does not let our account open tickets in another's name."""
    open_ticket = RestTicketSystem.open

    async def open_with_note(system: RestTicketSystem, request: ApprovalRequest) -> Ticket:
        return replace(await open_ticket(system, request), note="not in john's name")

    monkeypatch.setattr(RestTicketSystem, "open", open_with_note)
    watched = await watch(rig, caplog)
    assert [line[1] for line in await watched.work()] == ["Sending", "Opened"]
    name = f"Ticket DESK-1 of request {watched.call.correlation_id}"
    says = f"{name} was opened, but not in john's name"
    assert watched.alarms() == [("ticket_not_as_wanted", says)]


@pytest.mark.parametrize(("status", "blind"), [(422, False), (422, True), (409, True)])
async def test_a_refusal_needs_no_look_up(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, status: int, *, blind: bool
) -> None:
    """Only a conflict may be with a ticket of ours, where it can be looked for."""
    async with open_rig(declare=blind_desk if blind else desk_tree) as rig:
        watched = await watch(rig, caplog)
        rig.desk.switch_on(Fault("create", "answer", status=status))
        assert [line[1] for line in await watched.work()] == ["Sending", "NotSent", "Died"]
        assert rig.desk.journal.of("find") == []
        reason = (await rig.entry(watched.call)).details.reason
        assert reason.startswith(f"desk refused to create the ticket: desk answered {status}")
        name = f"Request {watched.call.correlation_id} is dead"
        assert watched.alarms() == [("request_dead", f"{name}: {reason}")]


# -- after the end -------------------------------------------------------------------------------


async def test_a_ticket_that_could_not_be_told_is_to_be_closed_by_hand(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.switch_on(Fault("cancel", "answer", status=422))
    await act(rig, watched.call, "cancel")
    await watched.work()
    refused = answered(422, "POST DESK/api/tickets/1001/cancel", "cancel")
    says = (
        f"Request {watched.call.correlation_id} ended, and its ticket DESK-1 could not be notified:"
        f" {refused}. Close it by hand."
    )
    assert watched.alarms() == [("ticket_untold", at_this_desk(rig, says))]


async def test_a_desk_that_is_paused_now_hears_of_the_end_later(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    await act(rig, watched.call, "cancel")
    await operate(rig, "desk", "pause")
    paused = {"code": "paused", "reason": "desk is paused; see its alarm"}
    *_, last = await watched.work(after=SECOND)
    assert last == (SECOND, "Postponed", "done", paused)
    assert rig.tickets()[0]["status"] == "new"
    await operate(rig, "desk", "resume")
    assert await watched.work(after=10 * SECOND) == at(11 * SECOND, TOLD)
    assert rig.tickets()[0]["status"] == "cancelled"


@pytest.mark.parametrize("words", ["approved", "not decided in time"])
async def test_a_ticket_is_told_what_was_decided_and_by_whom_where_it_was_a_person(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, words: str
) -> None:
    """By the ticket itself, or by the clock: then there is nobody to name."""
    route = {**limited()[0], "write_back": True}

    def declare(url: str) -> dict[str, Any]:
        return {name: part for name, part in desk_tree(url).items() if name != "cancel"}

    async with open_rig(routes=[route], declare=declare) as rig:
        watched = await opened(rig, caplog)
        if words == "approved":
            rig.desk.decide("1001", "approved", by="olga", comment="fine")
        await watched.work(after=DAY)
        [comment] = rig.desk.journal.of("comment")
        name = f"The access request {watched.call.correlation_id}"
        assert comment["text"] == f"{name} was {words}"


# -- the log -------------------------------------------------------------------------------------


async def test_every_step_is_a_log_line_with_its_state_and_code(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await watch(rig, caplog)
    caplog.set_level(logging.INFO)
    rig.desk.switch_on(Fault("create", "answer", status=422))
    await watched.work()
    lines = [it for it in caplog.records if it.name == "proxy.flow"]
    name = watched.call.correlation_id
    assert [it.getMessage() for it in lines] == [
        f"{name}: Sending, now opening",
        f"{name}: NotSent, now received",
        f"{name}: Died, now dead",
    ]
    said = [(vars(it)["state"], vars(it)["code"]) for it in lines]
    assert said == [("opening", ""), ("received", "refused"), ("dead", "refused")]
