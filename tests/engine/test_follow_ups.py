"""Calls that belong to a new ticket: made once, whatever is lost on the way."""

from typing import Any

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.support.rig import desk_tree

SECOND = 1_000
TEXT = "Please ask the data owner."


def declared(url: str, **follow_up: Any) -> dict[str, Any]:
    """Return the desk's declaration, with a comment that belongs to each new ticket."""
    comment = {"path": "/api/tickets/{{ ticket.id }}/comments", "body": {"text": TEXT}}
    check = {"path": "/desk/tickets/{{ ticket.id }}", "found": "comments[0]"}
    return desk_tree(url) | {"follow_ups": [comment | (follow_up or {"unless": check})]}


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after its effect"])
@pytest.mark.parametrize("lost", ["create", "comment", "find"])
async def test_one_ticket_and_one_comment_whatever_is_lost(
    open_rig: OpenRig,
    lost: str,
    after_effect: bool,  # noqa: FBT001
) -> None:
    async with open_rig(declare=declared) as rig:
        rig.desk.switch_on(Fault("comment", "reset", after_effect=after_effect))
        rig.desk.switch_on(Fault(lost, "reset", after_effect=after_effect))
        call = await rig.ask()
        for _ in range(6):
            await rig.work(after=20 * SECOND)
        (ticket,) = rig.tickets()
        assert [it["text"] for it in rig.desk.journal.of("comment")] == [TEXT]
        rig.desk.decide(ticket["id"], "approved")
        await rig.work(after=600 * SECOND)
        assert await rig.state(call) is State.DONE


async def test_without_a_check_a_comment_may_be_doubled(open_rig: OpenRig) -> None:
    """The negative control: said to be repeatable, it is repeated."""
    async with open_rig(declare=lambda url: declared(url, repeatable=True)) as rig:
        rig.desk.switch_on(Fault("comment", "reset", after_effect=True))
        await rig.ask()
        for _ in range(3):
            await rig.work(after=20 * SECOND)
        assert len(rig.tickets()) == 1
        assert len(rig.desk.journal.of("comment")) == 2


async def test_a_follow_up_that_is_refused_for_good_waits_for_a_person(open_rig: OpenRig) -> None:
    async with open_rig(declare=declared) as rig:
        rig.desk.switch_on(Fault("comment", "answer", status=422, times=None))
        call = await rig.ask()
        for _ in range(3):
            await rig.work(after=20 * SECOND)
        assert await rig.state(call) is State.HELD
        assert "422" in (await rig.entry(call)).details.reason
        assert len(rig.tickets()) == 1


async def test_a_follow_up_that_hangs_leaves_the_create_in_doubt_and_is_made_later(
    open_rig: OpenRig,
) -> None:
    """All calls of a create have one deadline: the lease must not end among them."""
    async with open_rig(declare=lambda url: declared(url) | {"deadline": "300ms"}) as rig:
        rig.desk.switch_on(Fault("comment", "hang"))
        call = await rig.ask()
        await rig.work()
        entry = await rig.entry(call)
        assert entry.record.code == "create_in_doubt"
        assert "was created, but a follow-up failed" in entry.details.reason
        rig.desk.faults.switch_off()
        await rig.work(after=60 * SECOND)
        assert len(rig.tickets()) == len(rig.desk.journal.of("comment")) == 1
