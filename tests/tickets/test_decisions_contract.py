"""How a decision is found, through the whole program, on every kind of ticket system."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.support.faults.ticket_systems import NEW, SITES, Site
from tests.support.manual_clock import ManualClock
from tests.support.rig import Rig

SECOND = 1_000
MINUTE = 60 * SECOND


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, clock: ManualClock) -> Site:
    return SITES[request.param](clock)


@asynccontextmanager
async def pending(
    open_rig: OpenRig, site: Site, *, events: bool
) -> AsyncIterator[tuple[Rig, Any, str]]:
    """Yield the program, a request whose ticket was opened and read, and that ticket."""
    async with site.simulator, open_rig(declare=lambda _: site.declare()) as rig:
        if events:
            site.send_events_to(f"{rig.url}/ticket-events/desk")
        call = await rig.ask()
        await rig.work()
        await rig.work(after=2 * SECOND)
        (ticket,) = [it for it, status in site.tickets().items() if status == NEW]
        assert await rig.state(call) is State.PENDING
        yield rig, call, ticket


def told(rig: Rig, call: Any) -> str:
    return str((rig.final(call) or {}).get("status"))


@pytest.mark.parametrize("late", [True, False])
async def test_an_event_only_wakes_up_and_what_can_be_read_decides(
    open_rig: OpenRig, site: Site, *, late: bool
) -> None:
    """The event comes twice, too. Where the change can be read, it is decided without waiting."""
    async with pending(open_rig, site, events=True) as (rig, call, ticket):
        stale = [
            site.simulator.switch_on(Fault(it, "stale", times=None))
            for it in ("read", "approval") * late
            if it == "read" or rig.program.settings.ticket_systems["desk"].kind == "jira"
        ]
        site.simulator.switch_on(Fault("event", "duplicate"))
        site.decide(ticket, "approved", "olga@company.com")
        await site.events_sent()
        await rig.work()
        assert await rig.state(call) is (State.PENDING if late else State.DONE)
        for switch in stale:
            switch.off()
        await rig.work(after=6 * MINUTE)
        assert (await rig.state(call), told(rig, call)) == (State.DONE, "OK")


@pytest.mark.parametrize(("status", "expected"), [("approved", "OK"), ("rejected", "KO")])
async def test_without_any_event_the_decision_is_found(
    open_rig: OpenRig, site: Site, status: str, expected: str
) -> None:
    async with pending(open_rig, site, events=False) as (rig, call, ticket):
        site.decide(ticket, status, "olga@company.com")
        await site.events_sent()
        for _ in range(5):
            await rig.work(after=5 * MINUTE)
            await rig.program.change_poller.poll()
            await rig.work()
        assert (await rig.state(call), told(rig, call)) == (State.DONE, expected)
