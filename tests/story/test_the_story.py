"""Read these first: what the program does, one short test each."""

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.support.rig import GRANT, OPERATOR_KEY, Rig, get_json

SECOND = 1_000
DAY = 24 * 3600 * SECOND


async def test_an_approved_request(rig: Rig) -> None:
    """A hook call becomes one ticket; its approval becomes OK at witboost."""
    call = await rig.ask()
    await rig.work()
    (ticket,) = rig.tickets()
    assert ticket["correlation_id"] == call.correlation_id
    assert ticket["title"] == "grant access for john.doe_company.com"

    rig.desk.decide(ticket["id"], "approved", by="olga", comment="fine with me")
    await rig.work(after=2 * SECOND)

    final = rig.final(call)
    assert final is not None
    assert final["status"] == "OK"
    assert final["hookInfo"]["ticketKey"] == ticket["key"]
    assert final["hookInfo"]["decidedBy"] == "olga"
    assert await rig.state(call) is State.DONE


async def test_a_rejected_request(rig: Rig) -> None:
    """A rejection becomes KO, found by polling alone."""
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "rejected", by="olga")
    await rig.work(after=2 * SECOND)
    assert (rig.final(call) or {})["status"] == "KO"


async def test_a_revoke_takes_the_same_way(rig: Rig) -> None:
    call = await rig.ask({**GRANT, "verb": "revoke"})
    await rig.work()
    assert rig.tickets()[0]["title"].startswith("revoke access")
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await rig.work(after=2 * SECOND)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_the_same_hook_call_twice_is_one_request(rig: Rig) -> None:
    call = await rig.ask()
    again = await rig.ask(respond_to=call.respond_to)
    assert again.body == call.body
    await rig.work()
    assert len(rig.tickets()) == 1


async def test_an_event_is_a_hint_that_shortens_the_wait(rig: Rig) -> None:
    """The desk's event makes the ticket due at once, long before the next poll."""
    call = await rig.ask()
    await rig.work()
    for _ in range(20):  # polls slow down
        await rig.work(after=300 * SECOND)
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await rig.desk.events_sent()
    await rig.work()
    assert (rig.final(call) or {})["status"] == "OK"


async def test_a_lost_answer_makes_no_second_ticket(rig: Rig) -> None:
    """The desk created the ticket, but its answer was lost: look before creating again."""
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    call = await rig.ask()
    await rig.work()
    assert len(rig.tickets()) == 1
    assert await rig.state(call) is State.OPENING
    await rig.work(after=8 * SECOND)
    assert len(rig.tickets()) == 1
    assert await rig.state(call) is State.PENDING


async def test_a_desk_that_is_down_costs_time_and_nothing_else(rig: Rig) -> None:
    call = await rig.ask()
    await rig.desk.down()
    for _ in range(5):
        await rig.work(after=60 * SECOND)
    await rig.desk.up()
    await rig.work(after=300 * SECOND)
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await rig.work(after=2 * SECOND)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_no_decision_in_time_is_a_rejection(rig: Rig) -> None:
    call = await rig.ask()
    await rig.work()
    await rig.work(after=31 * DAY)
    assert (rig.final(call) or {})["status"] == "KO"


async def test_an_operator_sees_where_a_request_stands(rig: Rig) -> None:
    call = await rig.ask()
    await rig.work()
    status, page = await get_json(f"{rig.url}/api/requests/{call.correlation_id}", OPERATOR_KEY)
    assert status == 200
    assert page["status"] == "pending"
    assert [line["event"] for line in page["history"]] == ["Admitted", "Sending", "Opened"]
