"""Every transition of an approval request, in one table.

`received -> opening -> pending -> decided -> fulfilling (if configured) -> done`. From any of these
a request may be parked as `held` or `dead`, with a reason and the state to which it returns.
`advance` is pure and may run twice on the same record: the time comes from the event. A test
compares the diagram in the documentation with `TRANSITIONS`.
"""

from collections.abc import Mapping
from typing import Final, Literal

from proxy.domain.events.base import (
    ACTIVE,
    PARKED,
    Event,
    GivenUp,
    Held,
    Postponed,
    without_failures,
)
from proxy.domain.events.callback import CallbackAccepted, CallbackNotSent, CallbackStarted
from proxy.domain.events.notifications import Announced, TicketNotified
from proxy.domain.events.operator import Refreshed, Rerouted, Retried
from proxy.domain.events.recovery import CreateInDoubt, Restored
from proxy.domain.events.ticket import (
    CreateNotSent,
    CreateStarted,
    Decided,
    Fulfilled,
    FulfilmentAwaited,
    TicketMissing,
    TicketOpened,
    TicketRead,
)
from proxy.domain.models import Record, State, StoredRequest
from proxy.domain.replace import replace
from proxy.errors import IllegalTransitionError

LATE: Final = "late"  # an event of an earlier stage: changes nothing
BACK: Final = "back"  # to the state that the record remembers

_S = State
_UNDECIDED: Final = (_S.RECEIVED, _S.OPENING, _S.PENDING, *PARKED)
_SETTLED: Final = (_S.DECIDED, _S.FULFILLING, _S.DONE)

Target = State | Literal["late", "back"]


def _stay(*states: State) -> dict[State, Target]:
    return {state: state for state in states}


def _lead(*states: State, to: Target) -> dict[State, Target]:
    return dict.fromkeys(states, to)


TRANSITIONS: Final[Mapping[type[Event], Mapping[State, Target]]] = {
    CreateStarted: _lead(_S.RECEIVED, _S.OPENING, to=_S.OPENING),
    CreateNotSent: _lead(_S.OPENING, to=_S.RECEIVED),
    TicketOpened: _lead(_S.RECEIVED, _S.OPENING, *PARKED, to=_S.PENDING)
    | _lead(_S.PENDING, *_SETTLED, to=LATE),
    TicketRead: _stay(_S.PENDING, _S.FULFILLING) | _lead(*PARKED, _S.DECIDED, _S.DONE, to=LATE),
    TicketMissing: _stay(_S.PENDING, _S.FULFILLING),
    Announced: _stay(_S.PENDING),
    Decided: _lead(*_UNDECIDED, to=_S.DECIDED) | _lead(*_SETTLED, to=LATE),
    FulfilmentAwaited: _lead(_S.DECIDED, to=_S.FULFILLING),
    Fulfilled: _stay(_S.FULFILLING) | _lead(*PARKED, to=BACK) | _lead(_S.DONE, to=LATE),
    CallbackStarted: _stay(_S.DECIDED, _S.FULFILLING),
    CallbackAccepted: _lead(_S.DECIDED, _S.FULFILLING, to=_S.DONE),
    Postponed: _stay(*ACTIVE, *PARKED, _S.DONE),
    CallbackNotSent: _stay(_S.DECIDED, _S.FULFILLING),
    Held: _lead(*ACTIVE, *PARKED, to=_S.HELD),
    GivenUp: _lead(*ACTIVE, _S.HELD, to=_S.DEAD),
    Retried: _lead(*PARKED, to=BACK),
    Refreshed: _stay(*ACTIVE),
    Rerouted: _stay(_S.RECEIVED, _S.OPENING, _S.PENDING) | _lead(*PARKED, to=BACK),
    TicketNotified: _stay(_S.DONE),
    CreateInDoubt: _lead(_S.RECEIVED, _S.OPENING, to=_S.OPENING) | _stay(_S.DECIDED, *PARKED),
    Restored: _lead(_S.RECEIVED, _S.OPENING, to=_S.OPENING)
    | _stay(_S.PENDING, _S.DECIDED, _S.FULFILLING, *PARKED, _S.DONE),
}


def advance(record: Record, event: Event) -> Record:
    """Return the record after the event; a late event returns the record as it is.

    A decision that differs from the accepted one is counted in `conflicts` and changes nothing
    else: the first decision wins.

    Raises:
        IllegalTransitionError: the event makes no sense in the record's state.
    """
    target = TRANSITIONS[type(event)].get(record.state)
    if target is None:
        raise IllegalTransitionError(
            f"{event.event_code} makes no sense for request {record.id}, which is {record.state}"
        )
    if target == LATE or (
        record.decision is not None and isinstance(event, TicketOpened | Decided)
    ):
        if isinstance(event, Decided) and event.decision is not record.decision:
            return replace(record, conflicts=record.conflicts + 1)
        return record
    state = (record.resume_state or _S.RECEIVED) if target == BACK else State(target)
    if isinstance(event, Retried) and event.no_ticket and state is _S.OPENING:
        state = _S.RECEIVED
    changed = event.apply(record)
    if isinstance(event, TicketOpened | Decided | CallbackAccepted):
        changed = without_failures(changed)
    return replace(changed, state=state)


def advance_entry(entry: StoredRequest, event: Event) -> StoredRequest:
    """Return the record and its texts after the event; a late event changes no text."""
    record = advance(entry.record, event)
    late = record is entry.record or record.conflicts != entry.record.conflicts
    aside = entry.record.state in PARKED and isinstance(event, Postponed)
    if late or aside:
        return replace(entry, record=record)
    return replace(entry, record=record, details=event.write(entry.details))
