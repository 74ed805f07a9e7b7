"""A refused credential is the destination's fault, unless this one request alone is refused."""

from contextlib import nullcontext
from unittest.mock import patch

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from proxy.store.pauses import PauseStore
from tests.support.rig import Rig

SECOND = 1_000
MINUTE = 60 * SECOND


async def test_a_request_that_went_on_after_one_outage_survives_the_next(rig: Rig) -> None:
    """Refused, repaired, read well, and weeks later refused again: nobody else succeeded."""
    call = await rig.ask()
    await rig.work()
    for _ in range(2):
        refusals = rig.desk.switch_on(Fault("read", "answer", status=401, times=2))
        await rig.work(after=10 * MINUTE)
        assert not refusals.is_active
        assert await rig.state(call) is State.PENDING
        await rig.work(after=10 * MINUTE)
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await rig.work(after=10 * MINUTE)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_a_refusal_at_the_desk_does_not_count_at_witboost(rig: Rig) -> None:
    """The instance was paused and resumed meanwhile, which proves nothing about this request."""
    early, late = await rig.ask(), await rig.ask()
    await rig.work()
    tickets = {ticket["correlation_id"]: ticket["id"] for ticket in rig.tickets()}
    subject = tickets[str(late.correlation_id)]
    rig.desk.switch_on(Fault("read", "answer", status=401, times=2, subject=subject))
    await rig.work(after=10 * MINUTE)
    rig.witboost.switch_on(Fault("callback", "answer", status=403))
    rig.desk.decide(tickets[str(early.correlation_id)], "approved")
    for _ in range(3):
        await rig.work(after=10 * MINUTE)
    assert rig.final(early) is not None
    rig.witboost.switch_on(Fault("callback", "answer", status=403))
    rig.desk.decide(subject, "approved")
    await rig.work(after=10 * MINUTE)
    assert await rig.state(late) is State.DECIDED
    await rig.work(after=10 * MINUTE)
    assert rig.final(late) is not None


async def test_a_refused_client_is_nobodys_request(rig: Rig) -> None:
    """Refused alone before, while another succeeded, and now with everybody: the desk is paused."""
    call = await rig.ask()
    subject = call.correlation_id
    rig.desk.switch_on(Fault("create", "answer", status=403, times=2, subject=subject))
    await rig.work()
    await rig.program.flow._context.pauses.on_success("desk")
    await rig.work(after=SECOND)
    assert (await rig.entry(call)).record.refusals == 2
    assert not (await rig.program.pause_store.pauses())["desk"].since
    rig.desk.authorization.refuse_client = True
    rig.desk.authorization.revoke_all()
    await rig.work(after=10 * MINUTE)
    assert (await rig.program.pause_store.pauses())["desk"].since
    assert await rig.state(call) is State.RECEIVED
    rig.desk.authorization.refuse_client = False
    for _ in range(3):
        await rig.work(after=10 * MINUTE)
    assert await rig.state(call) is State.PENDING


async def test_who_is_refused_a_third_time_while_others_succeed_is_held(rig: Rig) -> None:
    """Each time the desk was paused and in use again in between: three tries, and no fourth."""
    call = await rig.ask()
    subject = call.correlation_id
    rig.desk.switch_on(Fault("create", "answer", status=403, times=None, subject=subject))
    await rig.work()
    for _ in range(2):
        assert await rig.state(call) is State.RECEIVED
        await rig.program.pause_store.pause("desk", "refused to another one", probe_after=SECOND)
        assert await rig.program.pause_store.resume("desk")
        await rig.work(after=10 * SECOND)
    assert await rig.state(call) is State.HELD
    assert len(rig.desk.journal.of("fault")) == 3


@pytest.mark.parametrize("removed", [False, True], ids=["with it", "without it"])
async def test_a_paused_system_is_probed_by_one_request_at_a_time(
    rig: Rig, *, removed: bool
) -> None:
    """Ten wait, and one of them asks whether it was repaired; taken away, all ten do."""
    rig.desk.switch_on(Fault("create", "answer", status=403, times=None))
    for _ in range(10):
        await rig.ask()
    await rig.work()
    with patch.object(PauseStore, "may_probe", always) if removed else nullcontext():
        before = len(rig.desk.journal.of("fault"))
        await rig.work(after=2 * MINUTE)
        probes = len(rig.desk.journal.of("fault")) - before
    assert probes == (10 if removed else 1)


async def always(*_what: object, **_how: object) -> bool:
    """Let everybody probe."""
    return True
