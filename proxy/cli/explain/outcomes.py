"""The effect of each native status of a ticket system: decision, callback, fulfilment.

A record passes through its lifecycle here, so the callbacks are those that witboost would get.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from proxy.domain.events.base import Event
from proxy.domain.events.ticket import (
    CreateStarted,
    Decided,
    Fulfilled,
    FulfilmentAwaited,
    TicketOpened,
)
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import Decision, Details, Fulfilment, Record, State, StoredRequest, Ticket
from proxy.domain.route import Route
from proxy.engine.deciding import AT_ONCE, DECISIONS
from proxy.tickets.kinds import declaration_of
from proxy.witboost.callback import announcement, callback_body

CORRELATION_ID: Final = "ar" + "0" * 28
"""A placeholder of the same form as the id of a request."""

_MOMENT: Final = 1  # any time but 0; it is never shown
_TICKET: Final = Ticket(id="<ticket id>", key="<ticket key>", url="<ticket URL>")
_WHEN: Final = "<when it was decided>"
_OTHER: Final = "<any other>"


def what_follows(route: Route, instance: str, body: bytes) -> dict[str, Any]:
    """Return the stages after the creation of the ticket, by name.

    Raises:
        ConfigurationError: the route's declaration cannot be used.
    """
    entry = _admitted(route, instance, body)
    stages: dict[str, Any] = {}
    if route.announce:
        stages["announcement"] = orjson.loads(announcement(entry.record, _TICKET))
    stages["decision"] = list(_decisions(route, entry))
    if route.callback_on == "fulfilment":
        stages["fulfilment"] = list(_fulfilments(route, entry))
    return stages


def _decisions(route: Route, entry: StoredRequest) -> Iterator[dict[str, Any]]:
    """Yield the effect of each status of the decision map, and of any other status."""
    if not route.system:
        yield _at_once(route, entry)
        return
    entry = _after(entry, CreateStarted(at=_MOMENT), TicketOpened(at=_MOMENT, ticket=_TICKET))
    for native, outcome in declaration_of(route.system, route.declaration).outcomes.items():
        decision = DECISIONS.get(outcome)
        if decision is None:
            yield {"native": native, "outcome": outcome.value, "then": "the ticket is read again"}
            continue
        decided = _after(entry, _decided(decision, by="<who decided>", comment="<comment>"))
        yield {"native": native, "outcome": outcome.value, **_then(route, decided)}
    alarm = "taken for pending, with the alarm unknown_native_status"
    yield {"native": _OTHER, "outcome": None, "then": alarm}


def _fulfilments(route: Route, entry: StoredRequest) -> Iterator[dict[str, Any]]:
    """Yield the effect of each status of the fulfilment map after an approval."""
    entry = _after(
        entry,
        CreateStarted(at=_MOMENT),
        TicketOpened(at=_MOMENT, ticket=_TICKET),
        _decided(Decision.APPROVED, by="<who decided>", comment="<comment>"),
        FulfilmentAwaited(at=_MOMENT, by=_MOMENT),
    )
    declared = declaration_of(route.system, route.declaration)
    for native, fulfilment in declared.fulfilment.items():
        if fulfilment is Fulfilment.WAITING:
            then: Mapping[str, Any] = {"then": "the ticket is read again"}
        else:
            ended = _after(entry, Fulfilled(at=_MOMENT, fulfilment=fulfilment))
            then = {"then": "witboost is called back", "callback": _callback(ended)}
        yield {"native": native, "fulfilment": fulfilment.value, **then}


def _at_once(route: Route, entry: StoredRequest) -> dict[str, Any]:
    """Return the effect of a route without a ticket system."""
    decision = AT_ONCE.get(route.decide)
    if decision is None:
        return {"native": None, "outcome": None, "then": f"held for a person: {route.reason}"}
    decided = _after(entry, _decided(decision, by=f"route {route.name}", comment=route.reason))
    return {"native": None, "outcome": decision.value, **_then(route, decided)}


def _then(route: Route, decided: StoredRequest) -> dict[str, Any]:
    decision = decided.record.decision
    awaits = decision is Decision.APPROVED and route.callback_on == "fulfilment"
    then = "its fulfilment is awaited" if awaits else "witboost is called back"
    callback = {} if awaits else {"callback": _callback(decided)}
    return {"decision": decision.value if decision else None, "then": then, **callback}


def _decided(decision: Decision, *, by: str, comment: str) -> Decided:
    return Decided(at=_MOMENT, decision=decision, by=by, comment=comment)


def _callback(entry: StoredRequest) -> Any:
    tree = orjson.loads(callback_body(entry.record, entry.details))
    tree["hookInfo"]["decidedAt"] = _WHEN
    return tree


def _after(entry: StoredRequest, *events: Event) -> StoredRequest:
    for event in events:
        entry = advance_entry(entry, event)
    return entry


def _admitted(route: Route, instance: str, body: bytes) -> StoredRequest:
    record = Record(
        id=CORRELATION_ID,
        state=State.RECEIVED,
        instance=instance,
        system=route.system,
        route="",
        client="",
        content_digest="",
        admitted_at=_MOMENT,
        deadline_at=_MOMENT,
    )
    return StoredRequest(record, Details(), body)
