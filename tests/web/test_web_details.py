"""What people look for in the operator API: who asks for what, what may be done, and when."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from proxy.domain.events.base import Event, GivenUp, Held
from proxy.domain.events.ticket import CreateStarted, Decided, FulfilmentAwaited, TicketOpened
from proxy.domain.guards import GUARDED
from proxy.domain.models import Decision, Outcome, Ticket
from proxy.domain.operator_actions import ACTIONS
from proxy.observability.alarms import AlarmRecord
from proxy.web.operator_api.views import MASKED, detail_view
from tests.support.acting import happen, hold
from tests.web.conftest import OPERATOR_KEY, Answered, Site

TICKET = Ticket(id="T1", key="INC1", url="https://desk.example.com/T1", outcome=Outcome.APPROVED)
OPENED = (CreateStarted(at=1), TicketOpened(at=2, ticket=TICKET))
DECIDED = Decided(at=3, decision=Decision.APPROVED, by="olga")
LIVES: dict[str, tuple[Event, ...]] = {
    "received": (),
    "opening": (CreateStarted(at=1),),
    "pending": OPENED,
    "decided": (*OPENED, DECIDED),
    "fulfilling": (*OPENED, DECIDED, FulfilmentAwaited(at=4, by=9)),
    "awaited and held": (
        *OPENED,
        DECIDED,
        FulfilmentAwaited(at=4, by=9),
        Held(at=9, code="fulfilment_deadline", reason="Not in time."),
    ),
    "held": (Held(at=2, code="look", reason="A person must look."),),
    "guarded": (*OPENED, Held(at=3, code=GUARDED, reason="By the requester.")),
    "dead": (GivenUp(at=2, code="gave_up", reason="Tried for 3d"),),
    "decided and held": (*OPENED, DECIDED, Held(at=4, code="refused", reason="No.")),
}
ASKED = {"verb": "revoke", "identities": ["ann", "bob"], "resource": "urn:x", "requester": "cy"}


async def _living(site: Site, *events: Event, **how: Any) -> str:
    """Return a request to which these happened, with a ticket of its own."""
    correlation_id = (await site.submit(**how)).taken
    for event in events:
        ticket = replace(TICKET, id=f"ticket-of-{correlation_id}")
        own = replace(event, ticket=ticket) if isinstance(event, TicketOpened) else event
        site.desk.tickets[ticket.id] = ticket
        await happen(site.store, correlation_id, own)
    return correlation_id


async def _shown(site: Site, correlation_id: str) -> Any:
    return (await site.call("GET", f"/api/requests/{correlation_id}", key=OPERATOR_KEY)).json


async def _done(site: Site, correlation_id: str, action: str) -> Answered:
    ticket = replace(TICKET, id=f"found-for-{correlation_id}")
    site.desk.tickets[ticket.id] = ticket
    asked = {"reason": "because", "ticketKey": ticket.id}
    path = f"/api/requests/{correlation_id}/{action}"
    return await site.call("POST", path, key=OPERATOR_KEY, json=asked)


@pytest.mark.parametrize("life", LIVES)
async def test_what_is_offered_is_done_and_nothing_else(site: Site, life: str) -> None:
    offered = (await _shown(site, await _living(site, *LIVES[life])))["actions"]
    done = []
    for action in ACTIONS:
        answer = await _done(site, await _living(site, *LIVES[life]), action)
        if answer.status == 200:
            done.append(action)
    assert done == offered


async def test_a_list_with_details_says_who_asks_for_what_and_why_it_waits(site: Site) -> None:
    held = await _living(site, *OPENED, Held(at=3, code="look", reason="Look."), fields=ASKED)
    page = (await site.call("GET", "/api/requests?details=true", key=OPERATOR_KEY)).json
    (row,) = page["requests"]
    assert row["asked"] == ASKED
    assert (row["correlationId"], row["reason"], row["ticketUrl"]) == (held, "Look.", TICKET.url)
    plain = (await site.call("GET", "/api/requests", key=OPERATOR_KEY)).json["requests"]
    assert not plain[0].keys() & {"asked", "reason", "ticketUrl"}
    wrong = await site.call("GET", "/api/requests?details=yes", key=OPERATOR_KEY)
    wrong.refused(400, "details")


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (None, ASKED),
        (set(ASKED), ASKED),
        (
            {"verb"},
            {"verb": "revoke", "identities": [MASKED]}
            | dict.fromkeys(("resource", "requester"), MASKED),
        ),
        (
            {"identities"},
            {"verb": MASKED, "identities": ["ann", "bob"], "resource": MASKED, "requester": MASKED},
        ),
    ],
)
async def test_what_is_masked_is_masked_in_a_row_too(
    site: Site, allowed: set[str] | None, asked: dict[str, Any]
) -> None:
    """A revoke whose verb may not be shown must not look like a grant either."""
    entry = await site.store.load(await _living(site, fields=ASKED))
    assert entry is not None
    assert orjson.loads(detail_view(entry, allowed=allowed).json_bytes())["asked"] == asked


async def test_a_request_says_when_work_on_it_goes_on(site: Site) -> None:
    working, aside = await _living(site, CreateStarted(at=1)), await _living(site)
    assert (await _shown(site, working))["nextAt"] == "1970-01-01T00:00:00.001Z"
    await hold(site.store, aside)
    assert "nextAt" not in await _shown(site, aside)


async def test_status_says_who_asks_and_what_can_be_paused(site: Site) -> None:
    status = (await site.call("GET", "/api/status", key=OPERATOR_KEY)).json
    assert status["operator"] == {"name": "olga", "role": "admin"}
    assert status["destinations"] == ["desk", "main"]


async def test_alarms_say_what_happened_to_what_and_when_the_last_one_first(site: Site) -> None:
    await site.board.write([AlarmRecord(1, "backlog_full", "More workers.")])
    await site.board.write([AlarmRecord(2, "request_held", "Look.", "ar1", "desk")])
    answer = await site.call("GET", "/api/alarms", key=OPERATOR_KEY)
    assert answer.json["alarms"] == [
        {
            "alarm": "request_held",
            "at": "1970-01-01T00:00:00.002Z",
            "message": "Look.",
            "correlationId": "ar1",
            "destination": "desk",
        },
        {"alarm": "backlog_full", "at": "1970-01-01T00:00:00.001Z", "message": "More workers."},
    ]


@pytest.mark.parametrize("of", ["id", "key"])
async def test_a_request_is_found_by_its_ticket(site: Site, of: str) -> None:
    mine = replace(TICKET, id="T-mine", key="INC-mine")
    found = (await site.submit()).taken
    await happen(site.store, found, CreateStarted(at=1), TicketOpened(at=2, ticket=mine))
    await _living(site, *OPENED)

    async def listed(query: str) -> list[str]:
        page = await site.call("GET", f"/api/requests?{query}", key=OPERATOR_KEY)
        assert "next" not in page.json
        return [row["correlationId"] for row in page.json["requests"]]

    ticket = getattr(mine, of)
    assert await listed(f"ticket={ticket}") == await listed(f"ticket={found}") == [found]
    assert await listed(f"ticket={ticket}&state=pending&system=desk") == [found]
    assert not await listed(f"ticket={ticket}&state=done")
    assert not await listed("ticket=INC-nobody")
