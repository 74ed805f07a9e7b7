"""A refused credential is the destination's fault, unless this one request alone is refused."""

from proxy.demo.faults import Fault
from proxy.domain.models import State
from tests.rig import Rig

SECOND = 1_000
MINUTE = 60 * SECOND


async def test_a_request_that_went_on_after_one_outage_survives_the_next(rig: Rig) -> None:
    """Refused, repaired, read well, and weeks later refused again: nobody else succeeded."""
    call = await rig.ask()
    await rig.work()
    for _ in range(2):
        refusals = rig.desk.switch_on(Fault("read", "answer", status=401, times=2))
        await rig.work(after=10 * MINUTE)
        assert not refusals.is_on
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
