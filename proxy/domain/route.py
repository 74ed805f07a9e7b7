"""The route of a request: its ticket system, limits, guards and poll schedule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How often a ticket is read: fast at first, slower with every read, never stopping.

    `safety_net` is the pause where changes are listed, once reads would be slower than the list.
    """

    first: int = 1_000
    factor: float = 1.5
    slowest: int = 300_000
    safety_net: int = 21_600_000


@dataclass(frozen=True, slots=True)
class Guards:
    """Which approvals are held for a person to look: each is `hold` or `allow`.

    `self_approval`: by the requester, or by somebody who gets the access. `unknown_approver`: by
    somebody who cannot be told from those. `changed_fields`: of a ticket whose key fields were
    changed. `own_accounts` never approve; with `approver_groups` only these do.
    """

    self_approval: str = "hold"
    unknown_approver: str = "hold"
    changed_fields: str = "hold"
    own_accounts: Sequence[str] = ()
    approver_groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """What applies to a request, frozen at its admission and stored once under its hash.

    `system` names the ticket system, `declaration` is that system's mapping without secrets.
    A route with `decide` opens no ticket: it approves, rejects or holds at once, for `reason`.
    `on_deadline` and `on_fulfilment_deadline` say what a passed deadline means; `callback_on`
    says which of the two status maps sends the callback; `on_refusal` says what a ticket system's
    permanent refusal to create a ticket means. With `write_back` the ticket hears by a comment
    that witboost has the final status, with `announce` witboost hears of the open ticket.
    """

    name: str
    system: str
    decision_deadline: int
    on_deadline: str  # reject | fail | hold
    callback_on: str  # decision | fulfilment
    fulfilment_deadline: int
    on_fulfilment_deadline: str  # hold | fail
    on_refusal: str  # dead | fail
    poll: PollSchedule = field(default_factory=PollSchedule)
    declaration: Mapping[str, Any] = field(default_factory=dict)
    write_back: bool = False
    announce: bool = False
    guards: Guards = field(default_factory=Guards)
    decide: str = ""  # approve | reject | hold
    reason: str = ""

    @property
    def allowed_fields(self) -> Collection[str] | None:
        """The fields of a hook call that the ticket system may see; None where it may see all."""
        return self.declaration.get("allowed_fields")
