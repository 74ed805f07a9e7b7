"""The actions that an operator may take on a request in its present state. Pure."""

from collections.abc import Mapping
from typing import Final

from proxy.domain.events.base import ACTIVE, PARKED
from proxy.domain.guards import GUARDED
from proxy.domain.models import Fulfilment, Record, State

ACTIONS: Final = ("release", "retry", "attach", "refresh", "reroute", "reject", "cancel")


def allowed_actions(record: Record) -> list[str]:
    """Return the actions that the record's state allows, so that no other one is offered.

    An action may still be refused for a reason that only another system knows, such as a ticket
    that has been rejected meanwhile. A test compares this table with `engine.operator_actions`.
    """
    undecided, awaiting_fulfilment = (
        record.decision is None,
        record.fulfilment is Fulfilment.WAITING,
    )
    allowed: Mapping[str, bool] = {
        "retry": record.state in PARKED,
        "release": awaiting_fulfilment or (record.state is State.HELD and record.code == GUARDED),
        "attach": undecided and bool(record.system) and not record.ticket_id,
        "refresh": record.state in ACTIVE,
        "reroute": undecided,
        "reject": undecided or awaiting_fulfilment,
        "cancel": undecided or awaiting_fulfilment,
    }
    return [name for name in ACTIONS if allowed[name]]
