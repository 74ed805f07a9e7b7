"""What operators do: look, retry with a reason, attach a ticket that was found."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from proxy.tickets.rest.parser import FieldPaths
from tests.conftest import OpenRig
from tests.support.rig import OPERATOR_KEY, Rig, desk_tree, post_json

SECOND = 1_000


async def act(rig: Rig, call: Any, action: str, **body: Any) -> tuple[int, Any]:
    url = f"{rig.url}/api/requests/{call.correlation_id}/{action}"
    return await post_json(url, OPERATOR_KEY, {"reason": "checked by hand", **body})


def blind_desk(url: str) -> dict[str, Any]:
    """A desk that can neither be asked for a correlation id nor takes an idempotency key."""
    tree = desk_tree(url)
    del tree["find"]
    return {**tree, "ping": {"path": "/api/tickets"}}


async def in_doubt(rig: Rig) -> Any:
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    call = await rig.ask()
    await rig.work()
    await rig.work(after=10 * SECOND)
    assert await rig.state(call) is State.HELD
    return call


async def test_a_doubt_that_nobody_can_settle_is_held_for_a_person(open_rig: OpenRig) -> None:
    async with open_rig(declare=blind_desk) as rig:
        call = await in_doubt(rig)
        entry = await rig.entry(call)
        assert entry.record.code == "create_in_doubt"
        status, problem = await act(rig, call, "retry")
        assert (status, "noTicketExists" in str(problem)) == (400, True)
        assert len(rig.tickets()) == 1


@pytest.mark.parametrize("name", ["id", "key"])
async def test_an_operator_attaches_the_ticket(open_rig: OpenRig, name: str) -> None:
    async with open_rig(declare=blind_desk) as rig:
        call = await in_doubt(rig)
        status, _ = await act(rig, call, "attach", ticketKey=rig.tickets()[0][name])
        assert status == 200
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.work(after=2 * SECOND)
        assert (rig.final(call) or {})["status"] == "OK"
        assert len(rig.tickets()) == 1


async def test_a_ticket_decides_one_request_only(open_rig: OpenRig) -> None:
    """A slip of the keyboard must not let somebody's approval be another's."""
    async with open_rig(declare=blind_desk) as rig:
        other = await rig.ask()
        await rig.work()
        taken = rig.tickets()[0]
        call = await in_doubt(rig)
        status, problem = await act(rig, call, "attach", ticketKey=taken["key"])
        assert status == 400
        assert str(other.correlation_id) in str(problem)
        assert await rig.state(call) is State.HELD
        assert (await act(rig, call, "attach", ticketKey=rig.tickets()[1]["key"]))[0] == 200


@pytest.mark.parametrize("removed", [False, True], ids=["with it", "without it"])
async def test_a_ticket_that_carries_another_request_is_not_attached(
    rig: Rig, *, removed: bool
) -> None:
    """Also before that one knows it: whose it is stands in the ticket."""
    rig.desk.switch_on(Fault("create", "answer", status=422))
    call = await rig.ask()
    await rig.work()
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    other = await rig.ask()
    await rig.work()
    assert await rig.state(other) is State.OPENING
    ticket = rig.tickets()[0]["key"]
    with patch.object(FieldPaths, "texts", return_value=()) if removed else nullcontext():
        status, problem = await act(rig, call, "attach", ticketKey=ticket)
    assert (str(other.correlation_id) in str(problem)) is not removed
    assert status == (200 if removed else 400)
    if not removed:  # else both would follow it, which the store's indices cannot say
        await rig.work(after=60 * SECOND)
        assert (await rig.entry(other)).record.ticket_key == ticket


async def test_an_operator_vouches_that_there_is_no_ticket(open_rig: OpenRig) -> None:
    async with open_rig(declare=blind_desk) as rig:
        rig.desk.switch_on(Fault("create", "reset"))  # before the effect: there really is none
        call = await rig.ask()
        await rig.work()
        await rig.work(after=10 * SECOND)
        status, _ = await act(rig, call, "retry", noTicketExists=True)
        assert status == 200
        await rig.work()
        assert len(rig.tickets()) == 1
        assert await rig.state(call) is State.PENDING


async def test_a_dead_callback_is_retried_with_a_reason(rig: Rig) -> None:
    refused = rig.witboost.switch_on(Fault("callback", "answer", status=400, times=None))
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    for _ in range(16):  # an hour of the request's own time
        await rig.work(after=1_100 * SECOND)
    assert await rig.state(call) is State.DEAD
    refused.off()
    status, _ = await act(rig, call, "retry")
    assert status == 200
    await rig.work()
    assert (rig.final(call) or {})["status"] == "OK"
    history = await rig.program.store.history(str(call.correlation_id))
    assert any(line.get("reason") == "checked by hand" for line in history)


async def test_a_request_at_work_cannot_be_retried(rig: Rig) -> None:
    call = await rig.ask()
    await rig.work()
    status, problem = await act(rig, call, "retry")
    assert status == 400
    assert "pending" in str(problem)


async def test_an_old_request_cannot_be_retried_once_a_newer_one_has_its_url(rig: Rig) -> None:
    old = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    rig.witboost.switch_on(Fault("callback", "answer", status=400, times=None))
    for _ in range(16):
        await rig.work(after=1_100 * SECOND)
    assert await rig.state(old) is State.DEAD
    await rig.ask({"verb": "revoke", "identities": ["x"]}, respond_to=old.respond_to)
    status, problem = await act(rig, old, "retry")
    assert status == 400
    assert "newer request" in str(problem)


async def test_retrying_wakes_whoever_works_on_it_and_refuses_his_late_write(rig: Rig) -> None:
    """An operator's action raises the fence."""
    rig.desk.switch_on(Fault("create", "answer", status=422))
    call = await rig.ask()
    await rig.work()
    before = (await rig.entry(call)).record
    assert before.state is State.DEAD
    await act(rig, call, "retry")
    after = (await rig.entry(call)).record
    assert after.fence == before.fence + 1
    assert replace(after, fence=0).state is State.RECEIVED
