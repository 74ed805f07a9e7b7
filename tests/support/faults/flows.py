"""The ways a request can live, as data: who does what, what goes wrong, what must come of it.

People act whenever they see what they wait for, however often the program was killed meanwhile. So
a flow needs no script: it is at its end when the program rests and nobody has anything to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.demo.verdict import Expected
from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.support.faults.ticket_systems import NEW

GOT_ACCESS: Final = "john.doe@company.com"
"""Who gets the access in `tests.support.rig.GRANT`: nobody who may approve it."""


@dataclass(frozen=True, slots=True)
class Decides:
    """Somebody at the ticket system gives each ticket that shows `seeing` another status."""

    status: str
    seeing: str = NEW
    by: str = "olga"


@dataclass(frozen=True, slots=True)
class Operates:
    """An operator who sees the request in a state does something about it.

    Not `needed`: a crash may lead around that state.
    """

    action: str
    seeing: State
    needed: bool = True


Act = Decides | Operates


@dataclass(frozen=True, slots=True)
class Flow:
    """One request's life; `people` in the order in which they look.

    `fields` go into the hook call, `route` into the settings; faults strike besides the crash.
    """

    people: Sequence[Act]
    expected: Expected
    fields: Mapping[str, Any] = field(default_factory=dict)
    route: Mapping[str, Any] = field(default_factory=dict)
    at_system: Sequence[Fault] = ()
    at_witboost: Sequence[Fault] = ()


_OK: Final = Expected(status="OK")
_KO: Final = Expected(status="KO")
_APPROVES: Final = (Decides("approved"),)
_SELDOM: Final = {"first": "1h", "factor": 10, "slowest": "12h"}
_AWAITED: Final = {"callback_on": "fulfilment"}

FLOWS: Final[Mapping[str, Flow]] = {
    "grant": Flow(_APPROVES, _OK),
    "grant among lost answers": Flow(
        _APPROVES,
        _OK,
        at_system=(
            Fault("create", "reset", after_effect=True),
            Fault("find", "answer", status=503),
            Fault("read", "expire"),
            Fault("event", "lose", times=None),
        ),
        at_witboost=(Fault("callback", "reset", after_effect=True),),
    ),
    "revoke": Flow(_APPROVES, _OK, fields={"verb": "revoke"}),
    "rejection": Flow((Decides("rejected"),), _KO),
    "deadline": Flow((), _KO, route={"decision_deadline": "1d", "poll": _SELDOM}),
    "cancel": Flow((Operates("cancel", State.PENDING),), _KO),
    "held and released": Flow(
        (Decides("approved", by=GOT_ACCESS), Operates("release", State.HELD)), _OK
    ),
    "held and rejected": Flow(
        (Decides("approved", by=GOT_ACCESS), Operates("reject", State.HELD)), _KO
    ),
    "retry of a dead one": Flow(
        (Operates("retry", State.DEAD, needed=False), *_APPROVES),
        _OK,
        at_system=(Fault("create", "answer", status=422),),
    ),
    "fulfilment": Flow((*_APPROVES, Decides("done", seeing="approved")), _OK, route=_AWAITED),
    "fulfilment that fails": Flow(
        _APPROVES,
        _KO,
        route={
            **_AWAITED,
            "fulfilment_deadline": "1d",
            "on_fulfilment_deadline": "fail",
            "poll": _SELDOM,
        },
    ),
    "announced and written back": Flow(
        _APPROVES, _OK, route={"announce": True, "write_back": True}
    ),
    "decided by its route": Flow(
        (), Expected(tickets=0, status="OK"), route={"system": None, "decide": "approve"}
    ),
}
"""Every flow, by its name."""
