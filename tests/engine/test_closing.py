"""How requests end without their ticket's word, and what the ticket hears of it."""

from typing import Any

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_operators import act, blind_desk, in_doubt
from tests.support.rig import GRANT, OPERATOR_KEY, Rig, desk_tree, post_json

SECOND = 1_000
DAY = 86_400_000
DEADLINE = {"name": "default", "system": "desk", "decision_deadline": "1d"}


async def pending(rig: Rig) -> Any:
    call = await rig.ask()
    await rig.work()
    assert await rig.state(call) is State.PENDING
    return call


def comments(rig: Rig) -> list[str]:
    return [entry["text"] for entry in rig.desk.journal.of("comment")]


@pytest.mark.parametrize(("action", "decision"), [("reject", "rejected"), ("cancel", "cancelled")])
async def test_an_operator_ends_a_request_and_its_ticket_is_withdrawn(
    rig: Rig, action: str, decision: str
) -> None:
    call = await pending(rig)
    assert (await act(rig, call, action))[0] == 200
    await rig.work()
    final = rig.final(call)
    assert final is not None
    assert (final["status"], final["hookInfo"]["decision"]) == ("KO", decision)
    assert final["hookInfo"]["decidedBy"] == "operator alice"
    assert rig.tickets()[0]["status"] == "cancelled"
    assert f"was {decision} by operator alice: checked by hand" in str(rig.tickets()[0])
    assert (await act(rig, call, action))[0] == 400  # one decision


async def test_witboost_hears_first_and_the_ticket_when_it_can(rig: Rig) -> None:
    call = await pending(rig)
    rig.desk.switch_on(Fault("cancel", "answer", status=503, times=3))
    await act(rig, call, "cancel")
    await rig.work()
    assert rig.final(call) is not None
    assert rig.tickets()[0]["status"] == "new"
    for _ in range(3):
        await rig.work(after=20 * SECOND)
    assert rig.tickets()[0]["status"] == "cancelled"
    assert (await rig.entry(call)).record.ticket_notice_due == 0


async def test_a_ticket_that_cannot_be_told_is_an_alarm_in_the_end(rig: Rig) -> None:
    call = await pending(rig)
    rig.desk.switch_on(Fault("cancel", "answer", status=503, times=None))
    await act(rig, call, "cancel")
    for _ in range(400):
        await rig.work(after=15 * 60 * SECOND)
    assert 'ticket_untold"} 1.0' in rig.program.metrics.text().decode()
    assert (await rig.entry(call)).record.ticket_notice_due == 0


async def test_a_ticket_that_nobody_may_withdraw_stops_no_other_request(rig: Rig) -> None:
    """Our account may open tickets, and not withdraw them: that is about those tickets alone."""
    call = await pending(rig)
    rig.desk.switch_on(Fault("cancel", "answer", status=403, times=None))
    await act(rig, call, "cancel")
    for _ in range(6):
        await rig.ask()
        await rig.work(after=20 * 60 * SECOND)
    assert len(rig.tickets()) == 7
    text = rig.program.metrics.text().decode()
    assert 'ticket_untold"} 1.0' in text
    assert 'destination_paused"} 1.0' in text  # until another request got through
    assert (await rig.entry(call)).record.ticket_notice_due == 0


async def test_a_ticket_that_nobody_can_look_for_is_an_alarm_and_stops_nothing(
    open_rig: OpenRig,
) -> None:
    async with open_rig(declare=blind_desk) as rig:
        call = await in_doubt(rig)
        await act(rig, call, "cancel")
        for _ in range(3):
            await rig.work(after=10 * SECOND)
        assert rig.final(call) is not None
        text = rig.program.metrics.text().decode()
        assert 'ticket_untold"} 1.0' in text
        assert 'destination_paused"} 0.0' in text
        await pending(rig)


async def test_a_desk_that_takes_no_word_is_an_alarm(open_rig: OpenRig) -> None:
    """The ticket stays open: somebody must hear that it may be closed."""

    def declare(url: str) -> dict[str, Any]:
        return {it: part for it, part in desk_tree(url).items() if it not in {"cancel", "comment"}}

    async with open_rig(declare=declare) as rig:
        call = await pending(rig)
        await act(rig, call, "cancel")
        await rig.work()
        assert rig.final(call) is not None
        assert rig.tickets()[0]["status"] == "new"
        assert 'ticket_untold"} 1.0' in rig.program.metrics.text().decode()


async def test_a_ticket_that_was_decided_meanwhile_is_left_alone(rig: Rig) -> None:
    """The operator was first; the desk refuses to withdraw what it has decided."""
    call = await pending(rig)
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await act(rig, call, "reject")
    await rig.work()
    assert (rig.final(call) or {})["status"] == "KO"
    assert rig.tickets()[0]["status"] == "approved"
    assert (await rig.entry(call)).record.ticket_notice_due == 0


async def test_a_deadline_withdraws_the_ticket(open_rig: OpenRig) -> None:
    async with open_rig(routes=[DEADLINE]) as rig:
        call = await pending(rig)
        await rig.work(after=DAY)
        assert (rig.final(call) or {})["hookInfo"]["decision"] == "expired"
        assert rig.tickets()[0]["status"] == "cancelled"


async def test_a_desk_without_withdrawal_gets_a_comment(open_rig: OpenRig) -> None:
    def declare(url: str) -> dict[str, Any]:
        return {name: part for name, part in desk_tree(url).items() if name != "cancel"}

    async with open_rig(declare=declare) as rig:
        call = await pending(rig)
        await act(rig, call, "cancel")
        await rig.work()
        (comment,) = comments(rig)
        assert str(call.correlation_id) in comment
        assert rig.tickets()[0]["status"] == "new"


async def test_a_lost_ticket_is_found_and_withdrawn(rig: Rig) -> None:
    """Cancelled while a create was in doubt: nobody must go on working on that ticket."""
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    call = await rig.ask()
    await rig.work()
    assert (await act(rig, call, "cancel"))[0] == 200
    await rig.work()
    assert rig.final(call) is not None
    assert rig.tickets()[0]["status"] == "new"
    await rig.work(after=10 * SECOND)
    assert rig.tickets()[0]["status"] == "cancelled"
    assert await rig.state(call) is State.DONE


@pytest.mark.parametrize("write_back", [True, False])
async def test_the_final_status_is_written_back_if_the_route_says_so(
    open_rig: OpenRig, *, write_back: bool
) -> None:
    route = {"name": "default", "system": "desk", "write_back": write_back}
    async with open_rig(routes=[route]) as rig:
        call = await pending(rig)
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.work(after=SECOND)
        assert await rig.state(call) is State.DONE
        assert [str(call.correlation_id) in text for text in comments(rig)] == [True] * write_back
        assert rig.tickets()[0]["status"] == "approved"


async def test_a_reversal_after_the_end_is_an_alarm_and_changes_nothing(rig: Rig) -> None:
    call = await pending(rig)
    ticket = rig.tickets()[0]["id"]
    rig.desk.decide(ticket, "approved")
    await rig.work(after=SECOND)
    assert await rig.state(call) is State.DONE
    await rig.desk.events_sent()
    rig.desk.decide(ticket, "rejected")
    await rig.desk.events_sent()
    await rig.work(after=10 * SECOND)
    assert (await rig.entry(call)).record.conflicts == 1
    assert 'decision_conflict"} 1.0' in rig.program.metrics.text().decode()
    assert (rig.final(call) or {})["status"] == "OK"


async def test_our_own_withdrawal_is_no_reversal(rig: Rig) -> None:
    call = await pending(rig)
    await act(rig, call, "reject")
    await rig.work()
    await rig.desk.events_sent()
    await rig.work(after=10 * SECOND)
    assert (await rig.entry(call)).record.conflicts == 0


async def test_refresh_reads_the_ticket_now(open_rig: OpenRig) -> None:
    poll = {"first": "1h", "slowest": "1d"}
    async with open_rig(routes=[{"name": "default", "system": "desk", "poll": poll}]) as rig:
        rig.desk.switch_on(Fault("event", "lose", times=None))
        call = await pending(rig)
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.work(after=SECOND)
        assert await rig.state(call) is State.PENDING
        assert (await act(rig, call, "refresh"))[0] == 200
        await rig.work()
        assert await rig.state(call) is State.DONE
        assert (await act(rig, call, "refresh"))[0] == 400


async def test_reroute_chooses_again_under_the_settings_of_now(open_rig: OpenRig) -> None:
    """What was held because no route took it goes on where a new one does."""
    async with open_rig(routes=[{"name": "hr", "when": "domain == 'hr'", "system": "desk"}]) as rig:
        call = await rig.ask(GRANT)
        await rig.work()
        assert (await act(rig, call, "reroute"))[0] == 200
        await rig.work()
        assert (await rig.entry(call)).record.code == "unroutable"  # the settings are the same
        namespace = rig.program.settings.store.namespace
    async with open_rig(store={"namespace": namespace}) as later:
        url = f"{later.url}/api/requests/{call.correlation_id}/reroute"
        assert (await post_json(url, OPERATOR_KEY, {"reason": "a route came"}))[0] == 200
        await later.work()
        (ticket,) = later.tickets()
        assert ticket["correlation_id"] == call.correlation_id


@pytest.mark.parametrize("forgotten", [True, False])
async def test_a_request_that_may_have_a_ticket_does_not_go_elsewhere(
    open_rig: OpenRig, *, forgotten: bool
) -> None:
    """Another server of the store took it in: a create may be missing from its record."""
    async with open_rig() as rig:
        store = rig.program.store
        if forgotten:
            store.run_ids = dict.fromkeys(store.keys.tags(), "an earlier start")
        call = await rig.ask()
        namespace = rig.program.settings.store.namespace
    hr = {"name": "hr", "when": "domain == 'hr'", "system": "desk"}
    async with open_rig(routes=[hr], store={"namespace": namespace}) as later:
        status, said = await act(later, call, "reroute")
        assert (status, "may have, a ticket in desk" in str(said)) == (
            (400, True) if forgotten else (200, False)
        )


async def test_a_request_with_a_ticket_keeps_it(rig: Rig) -> None:
    call = await pending(rig)
    assert (await act(rig, call, "reroute"))[0] == 200  # the same system: the mapping may be new
    await rig.work(after=SECOND)
    assert await rig.state(call) is State.PENDING
    assert len(rig.tickets()) == 1
    assert (await act(rig, call, "release"))[0] == 400  # no guard holds it


@pytest.mark.parametrize("announce", [True, False])
async def test_witboost_hears_of_the_open_ticket_if_the_route_says_so(
    open_rig: OpenRig, *, announce: bool
) -> None:
    route = {"name": "default", "system": "desk", "announce": announce}
    async with open_rig(routes=[route]) as rig:
        call = await pending(rig)
        for _ in range(3):
            await rig.work(after=10 * SECOND)
        ticket = rig.tickets()[0]
        heard = [entry["body"] for entry in rig.witboost.attempts(call.hook_id)]
        assert len(heard) == announce  # once, however often the ticket is read
        if announce:
            assert heard[0].keys() == {"hookInfo"}
            assert heard[0]["hookInfo"]["ticketUrl"] == ticket["url"]
        rig.desk.decide(ticket["id"], "approved")
        await rig.work(after=60 * SECOND)
        assert rig.witboost.attempts(call.hook_id)[-1]["status"] == "OK"


async def test_nothing_is_announced_to_a_witboost_that_is_not_in_use(open_rig: OpenRig) -> None:
    """In maintenance, or down: it would be one call for each request. It is told later."""
    route = {"name": "default", "system": "desk", "announce": True}
    async with open_rig(routes=[route]) as rig:
        url = f"{rig.url}/api/destinations/main"
        await post_json(f"{url}/pause", OPERATOR_KEY, {"reason": "an upgrade"})
        call = await pending(rig)
        await rig.work(after=2 * SECOND)
        assert rig.witboost.attempts(call.hook_id) == []
        await post_json(f"{url}/resume", OPERATOR_KEY, {"reason": "done"})
        await rig.work(after=60 * SECOND)
        (heard,) = rig.witboost.attempts(call.hook_id)
        assert heard["body"].keys() == {"hookInfo"}


async def test_an_announcement_that_witboost_refuses_costs_nothing(open_rig: OpenRig) -> None:
    route = {"name": "default", "system": "desk", "announce": True}
    async with open_rig(routes=[route]) as rig:
        rig.witboost.switch_on(Fault("callback", "answer", status=422))
        call = await pending(rig)
        await rig.work(after=SECOND)
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.work(after=10 * SECOND)
        assert rig.witboost.attempts(call.hook_id)[-1]["status"] == "OK"
        assert (await rig.entry(call)).record.state is State.DONE
