"""The whole program with a Jira site: what bites there never makes a wrong or a second anything."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.domain.models import Decision, State
from proxy.simulators.faults import Fault
from proxy.simulators.jira.issues import TEXT_FIELD
from proxy.simulators.jira.server import REQUEST_TYPE, SERVICE_DESK, Jira
from tests.conftest import OpenRig
from tests.support.manual_clock import ManualClock
from tests.support.rig import CLIENT_SECRET, EVENT_SECRET, Rig

SECOND = 1_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE


@dataclass
class Played:
    """The program, and the site in place of its desk."""

    rig: Rig
    site: Jira

    async def heard(self, after: int = 0) -> None:
        """Let events arrive, some time pass, and do what is due."""
        await self.site.events_sent()
        await self.rig.work(after)

    async def history(self, correlation_id: str) -> list[Any]:
        """Return what happened to a request."""
        return list(await self.rig.program.store.history(correlation_id))


@asynccontextmanager
async def played(
    open_rig: OpenRig, clock: ManualClock, *, initial: str = "Waiting for approval", **more: Any
) -> AsyncIterator[Played]:
    account = {"client_id": "proxy", "client_secret": CLIENT_SECRET}
    async with Jira(
        client_id="proxy",
        client_secret=CLIENT_SECRET,
        event_secret=EVENT_SECRET,
        clock=clock,
        initial=initial,
    ) as site:

        def declare(_: str) -> dict[str, Any]:
            auth = {"kind": "oauth2", "token_url": f"{site.url}/oauth/token", **account}
            return {
                "kind": "jira",
                "base_url": site.url,
                "allow_http": True,
                "auth": auth,
                "request": {"service_desk": SERVICE_DESK, "request_type": REQUEST_TYPE},
                "correlation_field": TEXT_FIELD,
                "closed": {"Canceled": "cancelled"},
                "cancel": {"transition": "Cancel request"},
                "deadline": "2s",
                "events": {"secrets": [EVENT_SECRET]},
                **more,
            }

        async with open_rig(declare=declare) as rig:
            site.events.target = f"{rig.url}/ticket-events/desk"
            yield Played(rig, site)


async def test_an_approval_reaches_witboost_and_a_late_read_decides_nothing_early(
    open_rig: OpenRig, clock: ManualClock
) -> None:
    """The event comes first, twice, and what it announces is not to be read yet."""
    async with played(open_rig, clock) as it:
        call = await it.rig.ask()
        await it.heard()
        issue = await it.site.created()
        await it.heard(after=SECOND)
        for operation in ("read", "approval"):
            it.site.switch_on(Fault(operation, "stale"))
        it.site.switch_on(Fault("event", "duplicate"))
        it.site.decide(issue["id"], "approved", by="olga")
        await it.heard()
        assert await it.rig.state(call) is State.PENDING
        await it.heard(after=MINUTE)
        assert await it.rig.state(call) is State.DONE
        final = it.rig.final(call)
        assert final is not None
        assert (final["status"], final["hookInfo"]["decidedBy"]) == ("OK", "olga")


async def test_an_approval_by_who_gets_the_access_waits_for_an_operator(
    open_rig: OpenRig, clock: ManualClock
) -> None:
    async with played(open_rig, clock) as it:
        call = await it.rig.ask()
        await it.heard()
        issue = await it.site.created()
        it.site.decide(issue["id"], "approved", by="john.doe@company.com")
        await it.heard(after=MINUTE)
        assert await it.rig.state(call) is State.HELD
        assert "gets the access" in (await it.rig.entry(call)).details.reason
        assert it.rig.final(call) is None


async def test_a_lost_answer_and_a_late_index_make_one_ticket(
    open_rig: OpenRig, clock: ManualClock
) -> None:
    """The index shows an issue half a minute after it was made; `settle` is a minute."""
    async with played(open_rig, clock) as it:
        it.site.switch_on(Fault("find", "lag", times=None, seconds=30))
        it.site.switch_on(Fault("create", "reset", after_effect=True))
        call = await it.rig.ask()
        await it.heard()
        assert await it.rig.state(call) is State.OPENING
        await it.heard(after=MINUTE)
        assert await it.rig.state(call) is State.OPENING  # nobody has looked yet
        assert not it.site.journal.of("search")
        await it.heard(after=5 * SECOND)
        assert await it.rig.state(call) is State.PENDING
        assert len(it.site.journal.of("created")) == 1


async def test_without_a_settle_time_a_late_index_makes_two(
    open_rig: OpenRig, clock: ManualClock
) -> None:
    """Negative control: the minute is what it takes."""
    async with played(open_rig, clock, settle="1s") as it:
        it.site.switch_on(Fault("find", "lag", times=None, seconds=30))
        it.site.switch_on(Fault("create", "reset", after_effect=True))
        await it.rig.ask()
        await it.heard()
        await it.heard(after=5 * SECOND)
        assert len(it.site.journal.of("created")) == 2


async def test_a_moved_issue_gets_its_new_key_everywhere(
    open_rig: OpenRig, clock: ManualClock
) -> None:
    async with played(open_rig, clock) as it:
        call = await it.rig.ask()
        await it.heard()
        issue = await it.site.created()
        await it.heard(after=SECOND)
        it.site.move(issue["id"], "NEW")
        await it.heard(after=MINUTE)
        entry = await it.rig.entry(call)
        key = it.site.get_issue(issue["id"]).state.key
        assert entry.record.ticket_key == key != issue["key"]
        assert entry.details.ticket_url.endswith(f"/browse/{key}")
        told = [each for each in await it.history(entry.record.id) if key in str(each)]
        assert len(told) == 1
        it.site.decide(key, "rejected")
        await it.heard(after=MINUTE)
        final = it.rig.final(call)
        assert final is not None
        assert (final["status"], final["hookInfo"]["ticketKey"]) == ("KO", key)


async def test_a_start_that_is_not_reached_is_an_alarm(
    open_rig: OpenRig, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    start = {"transition": "Begin", "status": "Waiting for approval"}
    with caplog.at_level(logging.WARNING):
        async with played(open_rig, clock, initial="Open", start=start) as it:
            call = await it.rig.ask()
            await it.heard()
            assert await it.rig.state(call) is State.PENDING
            events = await it.history((await it.rig.entry(call)).record.id)
    (alarm,) = [each for each in caplog.records if hasattr(each, "alarm")]
    assert alarm.__dict__["alarm"] == "ticket_not_as_wanted"
    assert "no transition 'Begin'" in alarm.message
    assert any("did not reach its start" in str(each) for each in events)


async def test_a_request_that_ends_without_its_ticket_withdraws_it(
    open_rig: OpenRig, clock: ManualClock
) -> None:
    async with played(open_rig, clock) as it:
        call = await it.rig.ask()
        await it.heard()
        issue = await it.site.created()
        await it.heard(after=31 * DAY)
        await it.heard()
        entry = await it.rig.entry(call)
        assert entry.record.decision is Decision.EXPIRED
        assert it.site.get_issue(issue["id"]).state.status == "Canceled"
        (comment,) = it.site.journal.of("comment")
        assert "was not decided in time" in comment["text"]
