"""Guards: some approvals wait until an operator has looked."""

from typing import Any

from proxy.domain.models import State
from tests.conftest import OpenRig
from tests.engine.test_operators import act
from tests.support.rig import GRANT, Rig, desk_tree

SECOND = 1_000
DAY = 86_400_000


async def approved_by(rig: Rig, who: str) -> Any:
    call = await rig.ask(GRANT)
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved", by=who)
    await rig.work(after=SECOND)
    return call


async def test_who_gets_the_access_cannot_approve_it(rig: Rig) -> None:
    call = await approved_by(rig, "john.doe@company.com")
    entry = await rig.entry(call)
    assert (entry.record.state, entry.record.code) == (State.HELD, "guarded")
    assert "who gets the access" in entry.details.reason
    assert "requests release" in entry.details.reason
    assert rig.final(call) is None


async def test_an_operator_releases_what_a_guard_holds(rig: Rig) -> None:
    call = await approved_by(rig, "john.doe@company.com")
    assert (await act(rig, call, "release"))[0] == 200
    await rig.work()
    final = rig.final(call)
    assert final is not None
    assert (final["status"], final["hookInfo"]["decidedBy"]) == ("OK", "john.doe@company.com")
    assert (await rig.entry(call)).details.evidence == "desk DESK-1: approved; released by alice"
    history = await rig.program.store.history(str(call.correlation_id))
    assert [it["reason"] for it in history if it["event"] == "Decided"] == ["checked by hand"]


async def test_an_operator_rejects_what_a_guard_holds(rig: Rig) -> None:
    call = await approved_by(rig, "john.doe@company.com")
    assert (await act(rig, call, "reject"))[0] == 200
    await rig.work()
    assert (rig.final(call) or {})["status"] == "KO"


async def test_only_what_is_still_approved_can_be_released(rig: Rig) -> None:
    call = await approved_by(rig, "john.doe@company.com")
    rig.desk.decide(rig.tickets()[0]["id"], "in_review")
    status, problem = await act(rig, call, "release")
    assert (status, "'in_review' now" in str(problem)) == (400, True)


async def test_a_deadline_does_not_let_a_held_approval_pass(open_rig: OpenRig) -> None:
    route = {"name": "default", "system": "desk", "decision_deadline": "1d"}
    async with open_rig(routes=[route]) as rig:
        call = await approved_by(rig, "john.doe@company.com")
        await rig.work(after=DAY)
        assert (rig.final(call) or {})["hookInfo"]["decision"] == "expired"


async def test_a_rejection_is_never_held(rig: Rig) -> None:
    call = await rig.ask(GRANT)
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "rejected", by="john.doe@company.com")
    await rig.work(after=SECOND)
    assert (rig.final(call) or {})["status"] == "KO"


async def test_a_ticket_that_asks_for_something_else_now_is_held(open_rig: OpenRig) -> None:
    def declare(url: str) -> dict[str, Any]:
        tree = desk_tree(url)
        return {**tree, "ticket": {**tree["ticket"], "key_fields": "[title, description]"}}

    async with open_rig(declare=declare) as rig:
        call = await rig.ask(GRANT)
        await rig.work()
        await rig.work(after=SECOND)  # the first look
        ticket = rig.desk.tickets.get(rig.tickets()[0]["id"])
        assert ticket is not None
        ticket.fields = {**ticket.fields, "description": "Access to everything"}
        await rig.work(after=60 * SECOND)  # reading it meanwhile does not make it what was asked
        rig.desk.decide(ticket.id, "approved")
        await rig.work(after=10 * SECOND)
        entry = await rig.entry(call)
        assert (entry.record.state, entry.record.code) == (State.HELD, "guarded")
        assert "was changed after it was opened" in entry.details.reason
