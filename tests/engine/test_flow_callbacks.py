"""What witboost may answer to a callback, and what the program makes of it: rule by rule."""

import itertools
from typing import Any

import pytest

from proxy.app.assembly import assemble
from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_operators import act
from tests.support.rig import Rig

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


async def decided(rig: Rig) -> Any:
    """Ask, and decide at the desk; the next work calls back."""
    call = await rig.ask()
    await rig.work()
    ticket = next(it for it in rig.tickets() if it["correlation_id"] == call.correlation_id)
    rig.desk.decide(ticket["id"], "approved", by="olga")
    await rig.desk.events_sent()
    return call


def methods(rig: Rig, call: Any) -> list[str]:
    return [entry["method"] for entry in rig.witboost.attempts(call.hook_id)]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (302, "redirects are never followed"),
        (400, "answered 400"),
        (404, "answered 404"),
        (405, "accepts none of PUT, PATCH, POST"),
        (422, "answered 422"),
    ],
)
async def test_a_plain_refusal_is_tried_for_an_hour_and_then_dead_with_the_reason(
    rig: Rig, status: int, says: str
) -> None:
    """A deploy may be going on. A redirect is no other thing, and never followed."""
    elsewhere = {"Location": f"{rig.witboost.url}/elsewhere"}
    rig.witboost.switch_on(
        Fault("callback", "answer", status=status, times=None, headers=elsewhere)
    )
    call = await decided(rig)
    began = rig.clock.now()
    while await rig.state(call) is not State.DEAD:
        await rig.work(after=MINUTE)
        assert rig.clock.now() - began < 2 * HOUR
    entry = await rig.entry(call)
    assert entry.record.code == "gave_up"
    assert entry.details.reason.startswith("Tried for 1h: ")
    assert says in entry.details.reason
    assert rig.clock.now() - began > 30 * MINUTE
    assert entry.record.final


async def test_the_hour_of_a_refusal_begins_with_it_and_not_with_the_outage(rig: Rig) -> None:
    """A deploy: witboost fails for hours, and then its proxy does not know it yet."""
    failing = rig.witboost.switch_on(Fault("callback", "answer", status=503, times=None))
    call = await decided(rig)
    for _ in range(24):
        await rig.work(after=20 * MINUTE)
    assert (await rig.entry(call)).record.waited > HOUR
    failing.off()
    refusing = rig.witboost.switch_on(Fault("callback", "answer", status=404, times=None))
    for _ in range(2):
        await rig.work(after=20 * MINUTE)
        assert (await rig.entry(call)).record.code == "callback_refused"
    refusing.off()
    await rig.work(after=20 * MINUTE)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_failures_and_refusals_in_turn_are_tried_for_three_days_all_together(
    rig: Rig,
) -> None:
    call = await decided(rig)
    began = rig.clock.now()
    statuses = itertools.cycle([503, 422])
    while await rig.state(call) is not State.DEAD:
        fault = Fault("callback", "answer", status=next(statuses), times=None)
        failing = rig.witboost.switch_on(fault)
        await rig.work(after=20 * MINUTE)
        failing.off()
        assert rig.clock.now() - began < 5 * DAY
    assert (await rig.entry(call)).details.reason.startswith("Tried for 3d: ")


async def test_what_the_callback_cost_is_not_counted_for_the_word_to_the_ticket(rig: Rig) -> None:
    failing = rig.witboost.switch_on(Fault("callback", "answer", status=503, times=None))
    call = await rig.ask()
    await rig.work()
    await act(rig, call, "cancel")
    for _ in range(4):
        await rig.work(after=20 * MINUTE)
    assert (await rig.entry(call)).record.waited > 0
    rig.desk.switch_on(Fault("cancel", "answer", status=503, times=None))
    failing.off()
    await rig.work(after=20 * MINUTE)
    record = (await rig.entry(call)).record
    assert (record.state, record.attempt) == (State.DONE, 1)


async def test_a_refusal_that_led_to_giving_up_is_no_earlier_attempt(rig: Rig) -> None:
    """It certainly had no effect, so a 409 to the retry of an operator is not its echo."""
    refusal = rig.witboost.switch_on(Fault("callback", "answer", status=422, times=None))
    call = await decided(rig)
    for _ in range(24):
        await rig.work(after=10 * MINUTE)
    assert await rig.state(call) is State.DEAD
    refusal.off()
    rig.witboost.switch_on(Fault("callback", "answer", status=409))
    assert (await act(rig, call, "retry"))[0] == 200
    await rig.work()
    record = (await rig.entry(call)).record
    assert (record.state, record.code) == (State.HELD, "callback_conflict")


async def test_a_redirect_may_be_the_answer_of_a_callback_that_arrived(rig: Rig) -> None:
    """So the 409 to the next attempt is its echo."""
    rig.witboost.switch_on(Fault("callback", "answer", status=303, after_effect=True))
    call = await decided(rig)
    await rig.work(after=SECOND)
    await rig.work(after=MINUTE)
    assert await rig.state(call) is State.DONE
    assert (rig.final(call) or {})["status"] == "OK"


async def test_a_conflict_ends_when_a_person_has_looked(rig: Rig) -> None:
    """It is decided, so it cannot be cancelled; sent once more, it is over."""
    rig.witboost.switch_on(Fault("callback", "answer", status=409, times=None))
    call = await decided(rig)
    await rig.work(after=SECOND)
    assert await rig.state(call) is State.HELD
    assert (await act(rig, call, "cancel"))[0] == 400
    assert (await act(rig, call, "retry"))[0] == 200
    await rig.work()
    assert await rig.state(call) is State.DONE


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_credential_pauses_the_instance_and_uses_up_nothing(
    rig: Rig, status: int
) -> None:
    """Ten days, where three are what a callback may take: the destination was paused."""
    refusal = rig.witboost.switch_on(Fault("callback", "answer", status=status, times=None))
    call = await decided(rig)
    for _ in range(10):
        await rig.work(after=DAY)
    record = (await rig.entry(call)).record
    assert (record.state, record.attempt, record.waited) == (State.DECIDED, 0, 0)
    assert (await rig.program.pause_store.pauses())["main"].since
    assert 'destination_paused"} 1.0' in rig.program.metrics.text().decode()
    other = await rig.ask()
    await rig.work()
    assert await rig.state(other) is State.PENDING, "the desk is another destination"
    refusal.off()
    for _ in range(3):
        await rig.work(after=2 * MINUTE)
    assert (rig.final(call) or {})["status"] == "OK"
    assert not (await rig.program.pause_store.pauses())["main"].since


async def test_a_pause_of_two_hours_is_one_of_an_hour(rig: Rig) -> None:
    rig.witboost.switch_on(Fault("callback", "answer", status=429, retry_after="7200"))
    call = await decided(rig)
    await rig.work(after=SECOND)
    await rig.work(after=59 * MINUTE)
    assert rig.final(call) is None
    await rig.work(after=MINUTE)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_the_method_that_worked_outlives_a_restart_and_no_change_of_settings(
    open_rig: OpenRig,
) -> None:
    """Found out once for all processes; other settings may mean another witboost."""
    async with open_rig(witboost={"methods": ("POST",)}) as rig:
        first = await decided(rig)
        await rig.work(after=SECOND)
        assert methods(rig, first) == ["PUT", "PATCH", "POST"]

        settings = rig.program.settings
        main = settings.witboost["main"]
        slower = main.callback.model_copy(update={"deadline": 9 * SECOND})
        changed = {"main": main.model_copy(update={"callback": slower})}
        for now, tried in (
            (settings, ["POST"]),
            (settings.model_copy(update={"witboost": changed}), ["PUT", "PATCH", "POST"]),
        ):
            call = await decided(rig)
            rig.clock.advance(SECOND)
            async with assemble(now, clock=rig.clock, dice=lambda: 0.5) as again:
                await again.worker().run_due()
            assert methods(rig, call) == tried
            assert rig.final(call) is not None


async def test_the_normalised_url_is_what_is_called(rig: Rig) -> None:
    odd = rig.witboost.url.replace("http:", "HTTP:") + "/api/./actionHandler/%61-hook?x=1"
    rig.witboost._adopt_unknown_hooks = True
    call = await rig.ask(respond_to=odd)
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await rig.work(after=SECOND)
    assert await rig.state(call) is State.DONE
    assert [entry["status"] for entry in rig.witboost.attempts("a-hook")] == ["OK"]
