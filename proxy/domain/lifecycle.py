"""Every transition of an approval request, in one table.

`received -> opening -> pending -> decided -> fulfilling (if configured) -> done`; aside `held`
and `dead`, each with a reason and the state to return to. `advance` is pure and may run twice on
the same record: time comes from the event. The README's diagram is tested against `TRANSITIONS`.
"""

from collections.abc import Mapping
from typing import Final, Literal

from proxy.domain.events.base import (
    ASIDE,
    WORKING,
    CalledBack,
    CallingBack,
    Decided,
    Died,
    Event,
    Fulfilled,
    FulfilmentAwaited,
    Held,
    Missing,
    NotSent,
    Opened,
    Postponed,
    Read,
    Sending,
    Uncalled,
    afresh,
)
from proxy.domain.events.notifications import Announced, Told
from proxy.domain.events.operator import Refreshed, Rerouted, Retried
from proxy.domain.events.recovery import Doubted, Restored
from proxy.domain.models import Entry, Record, State
from proxy.domain.replace import replace
from proxy.errors import IllegalTransition

LATE: Final = "late"  # an event of an earlier stage: changes nothing
BACK: Final = "back"  # to the state that the record remembers

_S = State
_UNDECIDED: Final = (_S.RECEIVED, _S.OPENING, _S.PENDING, *ASIDE)
_SETTLED: Final = (_S.DECIDED, _S.FULFILLING, _S.DONE)

Target = State | Literal["late", "back"]


def _stay(*states: State) -> dict[State, Target]:
    return {state: state for state in states}


def _lead(*states: State, to: Target) -> dict[State, Target]:
    return dict.fromkeys(states, to)


TRANSITIONS: Final[Mapping[type[Event], Mapping[State, Target]]] = {
    Sending: _lead(_S.RECEIVED, _S.OPENING, to=_S.OPENING),
    NotSent: _lead(_S.OPENING, to=_S.RECEIVED),
    Opened: _lead(_S.RECEIVED, _S.OPENING, *ASIDE, to=_S.PENDING)
    | _lead(_S.PENDING, *_SETTLED, to=LATE),
    Read: _stay(_S.PENDING, _S.FULFILLING) | _lead(*ASIDE, _S.DECIDED, _S.DONE, to=LATE),
    Missing: _stay(_S.PENDING, _S.FULFILLING),
    Announced: _stay(_S.PENDING),
    Decided: _lead(*_UNDECIDED, to=_S.DECIDED) | _lead(*_SETTLED, to=LATE),
    FulfilmentAwaited: _lead(_S.DECIDED, to=_S.FULFILLING),
    Fulfilled: _stay(_S.FULFILLING) | _lead(*ASIDE, to=BACK) | _lead(_S.DONE, to=LATE),
    CallingBack: _stay(_S.DECIDED, _S.FULFILLING),
    CalledBack: _lead(_S.DECIDED, _S.FULFILLING, to=_S.DONE),
    Postponed: _stay(*WORKING, *ASIDE, _S.DONE),
    Uncalled: _stay(_S.DECIDED, _S.FULFILLING),
    Held: _lead(*WORKING, *ASIDE, to=_S.HELD),
    Died: _lead(*WORKING, _S.HELD, to=_S.DEAD),
    Retried: _lead(*ASIDE, to=BACK),
    Refreshed: _stay(*WORKING),
    Rerouted: _stay(_S.RECEIVED, _S.OPENING, _S.PENDING) | _lead(*ASIDE, to=BACK),
    Told: _stay(_S.DONE),
    Doubted: _lead(_S.RECEIVED, _S.OPENING, to=_S.OPENING) | _stay(_S.DECIDED, *ASIDE),
    Restored: _lead(_S.RECEIVED, _S.OPENING, to=_S.OPENING)
    | _stay(_S.PENDING, _S.DECIDED, _S.FULFILLING, *ASIDE, _S.DONE),
}


def advance(record: Record, event: Event) -> Record:
    """Return the record after the event; a late event returns the record as it is.

    A decision that differs from the accepted one is counted in `conflicts` and changes nothing
    else: the first decision wins.

    Raises:
        IllegalTransition: the event makes no sense in the record's state.
    """
    target = TRANSITIONS[type(event)].get(record.state)
    if target is None:
        raise IllegalTransition(
            f"{event.event_code} makes no sense for request {record.id}, which is {record.state}"
        )
    if target == LATE or (record.decision is not None and isinstance(event, Opened | Decided)):
        if isinstance(event, Decided) and event.decision is not record.decision:
            return replace(record, conflicts=record.conflicts + 1)
        return record
    state = (record.back or _S.RECEIVED) if target == BACK else State(target)
    if isinstance(event, Retried) and event.no_ticket and state is _S.OPENING:
        state = _S.RECEIVED
    changed = event.apply(record)
    if isinstance(event, Opened | Decided | CalledBack):
        changed = afresh(changed)
    return replace(changed, state=state)


def advance_entry(entry: Entry, event: Event) -> Entry:
    """Return the record and its texts after the event; a late event changes no text."""
    record = advance(entry.record, event)
    late = record is entry.record or record.conflicts != entry.record.conflicts
    aside = entry.record.state in ASIDE and isinstance(event, Postponed)
    if late or aside:
        return replace(entry, record=record)
    return replace(entry, record=record, texts=event.write(entry.texts))
