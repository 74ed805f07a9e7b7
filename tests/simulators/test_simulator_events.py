"""Events are signed, sent once, and suffer the faults that make them a hint."""

import hashlib
import hmac

import orjson
import pytest

from proxy.simulators.desk.server import Desk
from proxy.simulators.faults import Fault
from tests.support.demo_program import EVENT_SECRET, Listener, Program


@pytest.fixture(autouse=True)
def target(desk: Desk, listener: Listener) -> None:
    desk.events.target = listener.url


async def test_a_decision_pushes_a_signed_event(
    desk: Desk, program: Program, listener: Listener
) -> None:
    await program.create()
    desk.decide("1001", "approved")
    headers, body = await listener.next()
    event = orjson.loads(body)
    assert event["event"] == "ticket.updated"
    assert event["ticket"] == {"id": "1001", "key": "DESK-1", "status": "approved"}
    assert headers["X-Desk-Event-Id"] == event["id"]
    assert headers["X-Desk-Timestamp"] == "1800000000"
    mac = hmac.new(EVENT_SECRET.encode(), b"1800000000." + body, hashlib.sha256).hexdigest()
    assert headers["X-Desk-Signature"] == f"sha256={mac}"
    await desk.events_sent()
    assert desk.journal.of("event", id=event["id"], answer=202)
    assert listener.received.empty()


async def test_a_creation_is_announced_only_if_wanted(
    desk: Desk, program: Program, listener: Listener
) -> None:
    await program.create("c-1")
    desk.announce_created = True
    await program.create("c-2")
    _, body = await listener.next()
    assert orjson.loads(body)["event"] == "ticket.created"
    assert orjson.loads(body)["ticket"]["id"] == "1002"
    await desk.events_sent()
    assert listener.received.empty()


async def test_a_duplicate_event_carries_the_same_id(
    desk: Desk, program: Program, listener: Listener
) -> None:
    desk.switch_on(Fault("event", "duplicate"))
    await program.create()
    desk.decide("1001", "approved")
    first, second = await listener.next(), await listener.next()
    assert first[0]["X-Desk-Event-Id"] == second[0]["X-Desk-Event-Id"]
    assert first[1] == second[1]


async def test_a_late_event_comes_when_released_behind_a_newer_one(
    desk: Desk, program: Program, listener: Listener
) -> None:
    switch = desk.switch_on(Fault("event", "hang"))
    await program.create()
    desk.decide("1001", "in_review")
    await switch.triggered()
    desk.decide("1001", "approved")
    _, newer = await listener.next()
    switch.off()
    _, older = await listener.next()
    assert [orjson.loads(body)["ticket"]["status"] for body in (newer, older)] == [
        "approved",
        "in_review",
    ]


async def test_a_lost_event_never_comes(desk: Desk, program: Program, listener: Listener) -> None:
    desk.switch_on(Fault("event", "lose", subject="1001"))
    await program.create()
    desk.decide("1001", "approved")
    await desk.events_sent()
    assert listener.received.empty()
    assert desk.journal.of("fault", operation="event", fault="lose", ticket="1001")
    assert not desk.journal.of("event")


async def test_an_event_that_nobody_takes_is_not_repeated(
    desk: Desk, program: Program, listener: Listener
) -> None:
    desk.events.target = "http://127.0.0.1:1/"
    await program.create()
    desk.decide("1001", "approved")
    await desk.events_sent()
    assert [entry["answer"] for entry in desk.journal.of("event")] == [None]
    assert listener.received.empty()


async def test_a_desk_may_be_closed_with_an_event_held_back(desk: Desk, program: Program) -> None:
    switch = desk.switch_on(Fault("event", "hang"))
    await program.create()
    desk.decide("1001", "approved")
    await switch.triggered()
    await desk.down()
    assert not desk.journal.of("event")
