"""What an operator may do to a request where it stands. Pure."""

from collections.abc import Mapping
from typing import Final

from proxy.domain.events.base import ACTIVE, PARKED
from proxy.domain.guards import GUARDED
from proxy.domain.models import Fulfilment, Record, State

ACTIONS: Final = ("release", "retry", "attach", "refresh", "reroute", "reject", "cancel")


def allowed_actions(record: Record) -> list[str]:
    """Return the actions that its state allows, so that nobody is offered what is refused.

    What only a look elsewhere can tell, such as whether the ticket still says so, may refuse them
    all the same; a test compares them with `operations`.
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
