"""The desk's tickets, decisions and pages."""

import pytest

from proxy.simulators.desk.server import Desk
from tests.support.demo_program import CLIENT, EVENT_SECRET, Program, TestClock


async def test_a_ticket_is_created_found_and_read(desk: Desk, program: Program) -> None:
    status, body = await program.create("c-1", requester="anna", weight=3)
    ticket = body["ticket"]
    assert status == 201
    assert (ticket["id"], ticket["key"], ticket["status"]) == ("1001", "DESK-1", "new")
    assert (ticket["correlation_id"], ticket["requester"], ticket["weight"]) == ("c-1", "anna", 3)
    assert ticket["created"] == "2027-01-15T08:00:00.000Z"
    assert ticket["url"] == f"{desk.url}/desk/tickets/1001"
    assert await program.find("c-1") == ["1001"]
    assert await program.find("c-2") == []
    assert await program.read() == (200, {"ticket": ticket})
    assert (await desk.created())["id"] == "1001"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"title": "", "correlation_id": "c"}, 422),
        ({"title": "x" * 121, "correlation_id": "c"}, 422),
        ({"title": "x"}, 422),
        ({"title": "x", "correlation_id": "c", "description": 3}, 422),
        ([], 400),
    ],
)
async def test_bad_fields_make_no_ticket(
    desk: Desk, program: Program, fields: object, status: int
) -> None:
    answered, body = await program.call("POST", "/api/tickets", fields)
    assert answered == status
    assert body["error"]["message"]
    assert desk.tickets.all() == []


async def test_unknown_things_are_not_found_or_refused(program: Program) -> None:
    assert (await program.read("1001"))[0] == 404
    assert (await program.call("POST", "/api/tickets/1001/comments", {"text": "x"}))[0] == 404
    assert (await program.call("POST", "/api/tickets/1001/cancel", {"reason": "x"}))[0] == 404
    assert (await program.call("GET", "/api/tickets"))[0] == 400


async def test_a_decision_says_who_why_and_when(
    desk: Desk, program: Program, clock: TestClock
) -> None:
    await program.create()
    desk.decide("1001", "in_review")
    _, body = await program.read()
    assert (body["ticket"]["status"], body["ticket"]["decided_by"]) == ("in_review", None)
    clock.milliseconds += 1000
    desk.decide("1001", "approved", by="olga", comment="fine")
    desk.decide("1001", "done", by="robot")
    _, body = await program.read()
    ticket = body["ticket"]
    assert (ticket["status"], ticket["decided_by"]) == ("done", "olga")
    assert (ticket["decision_comment"], ticket["decided_at"]) == (
        "fine",
        "2027-01-15T08:00:01.000Z",
    )
    with pytest.raises(KeyError):
        desk.decide("1002", "approved")


async def test_a_person_decides_over_http_without_a_token(program: Program) -> None:
    await program.create()
    program.token = ""
    decision = {"decision": "rejected", "by": "piotr", "comment": "no"}
    status, body = await program.call("POST", "/desk/tickets/DESK-1/decision", decision)
    assert (status, body["ticket"]["status"]) == (200, "rejected")
    assert body["ticket"]["decided_by"] == "piotr"
    assert (await program.call("POST", "/desk/tickets/DESK-1/decision", {"by": "x"}))[0] == 422
    assert (await program.call("POST", "/desk/tickets/DESK-2/decision", decision))[0] == 404
    status, body = await program.call("GET", "/desk/tickets")
    assert [ticket["status"] for ticket in body["tickets"]] == ["rejected"]
    assert (await program.call("GET", "/desk/tickets/1001"))[1]["comments"] == []
    assert (await program.call("GET", "/desk/tickets/77"))[0] == 404


async def test_comments_are_kept(desk: Desk, program: Program) -> None:
    await program.create()
    status, body = await program.call("POST", "/api/tickets/1001/comments", {"text": "hello"})
    assert (status, body["comment"]["text"]) == (201, "hello")
    assert (await program.call("POST", "/api/tickets/1001/comments", {}))[0] == 422
    assert desk.journal.of("comment", text="hello", correlation_id="c-1")


async def test_an_open_ticket_is_cancelled_a_decided_one_is_not(
    desk: Desk, program: Program
) -> None:
    await program.create("c-1")
    await program.create("c-2")
    status, body = await program.call("POST", "/api/tickets/1001/cancel", {"reason": "late"})
    assert (status, body["ticket"]["status"]) == (200, "cancelled")
    desk.decide("1002", "approved")
    assert (await program.call("POST", "/api/tickets/1002/cancel", {"reason": "late"}))[0] == 409
    assert (await program.call("POST", "/api/tickets/1002/cancel", {}))[0] == 422


async def test_an_idempotency_key_counts_only_when_honoured(desk: Desk, program: Program) -> None:
    fields = {"title": "x", "correlation_id": "c-1"}
    key = {"Idempotency-Key": "c-1"}
    for _ in range(2):
        await program.call("POST", "/api/tickets", fields, headers=key)
    assert len(desk.tickets.all()) == 2
    desk.honour_idempotency_key = True
    for _ in range(2):
        assert (await program.call("POST", "/api/tickets", fields, headers=key))[0] == 201
    assert len(desk.tickets.all()) == 3


async def test_tickets_decide_themselves_in_turn(program: Program, clock: TestClock) -> None:
    async with Desk(
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        event_secret=EVENT_SECRET,
        auto_decide=("approved", "rejected"),
        clock=clock,
    ) as desk:
        program.url = desk.url
        await program.fetch_token()
        statuses = [(await program.create(f"c-{number}"))[1]["ticket"] for number in range(3)]
        assert [ticket["status"] for ticket in statuses] == ["approved", "rejected", "approved"]


async def test_a_ticket_decides_itself_later(program: Program) -> None:
    async with Desk(
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        event_secret=EVENT_SECRET,
        auto_decide=("approved",),
        auto_decide_after=0.01,
    ) as desk:
        program.url = desk.url
        await program.fetch_token()
        assert (await program.create())[1]["ticket"]["status"] == "new"
        await desk.journal.next_of("status", ticket="1001", status="approved")
        assert (await program.read())[1]["ticket"]["status"] == "approved"


async def test_a_desk_may_be_closed_before_its_tickets_decide_themselves(
    program: Program,
) -> None:
    async with Desk(
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        event_secret=EVENT_SECRET,
        auto_decide=("approved",),
        auto_decide_after=0.1,
    ) as desk:
        program.url = desk.url
        await program.fetch_token()
        await program.create()
    with pytest.raises(TimeoutError):
        await desk.journal.next_of("status", within=0.2)
    assert desk.tickets.all()[0]["status"] == "new"


async def test_a_port_in_use_is_an_error_that_leaves_nothing_open(desk: Desk) -> None:
    second = Desk(
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        event_secret=EVENT_SECRET,
        port=int(desk.url.rpartition(":")[2]),
    )
    with pytest.raises(OSError, match="address already in use"):
        await second.__aenter__()
    assert second.client.closed
