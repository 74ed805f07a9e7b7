"""The route of a request: its ticket system, limits, guards and poll schedule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How often a ticket is read: often at first, then ever more slowly, without an end."""

    first: int = 1_000
    """The pause before the first read, in milliseconds."""
    factor: float = 1.5
    """The factor by which the pause grows with every read."""
    slowest: int = 300_000
    """The longest pause, in milliseconds."""
    safety_net: int = 21_600_000
    """The pause where changes are listed and reads would be slower than the list."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The guards: rules under which an approval is held; each says `hold` or `allow`."""

    self_approval: str = "hold"
    """An approval by the requester or by a person who gets the access."""
    unknown_approver: str = "hold"
    """An approval by a person who may be one of those."""
    changed_fields: str = "hold"
    """An approval of a ticket whose key fields were changed."""
    own_accounts: Sequence[str] = ()
    """Accounts of the proxy: their approvals are always held."""
    approver_groups: Sequence[str] = ()
    """If not empty, only approvals for one of these groups pass."""


@dataclass(frozen=True, slots=True)
class Route:
    """The rules for a request, frozen at its admission and stored once under their hash."""

    name: str
    system: str
    """The name of the ticket system; empty if the route decides at once."""
    decision_deadline: int
    """How long a decision may take, in milliseconds from the admission."""
    on_deadline: str
    """What a passed decision deadline means: reject, fail or hold."""
    callback_on: str
    """Which of the two status maps sends the callback: decision or fulfilment."""
    fulfilment_deadline: int
    """How long the access may take, in milliseconds from the decision."""
    on_fulfilment_deadline: str
    """What a passed fulfilment deadline means: hold or fail."""
    on_refusal: str
    """What the ticket system's permanent refusal of a create means: dead or fail."""
    poll: PollSchedule = field(default_factory=PollSchedule)
    declaration: Mapping[str, Any] = field(default_factory=dict)
    """The mapping of the ticket system, without secrets."""
    write_back: bool = False
    """If true, a comment tells the ticket that witboost has the final status."""
    announce: bool = False
    """If true, witboost gets the link to the open ticket."""
    guards: Guards = field(default_factory=Guards)
    decide: str = ""
    """The decision of a route without a ticket: approve, reject or hold."""
    reason: str = ""
    """The reason for that decision, for people to read."""

    @property
    def allowed_fields(self) -> Collection[str] | None:
        """The fields of a hook call that the ticket system may see; None if it may see all."""
        return self.declaration.get("allowed_fields")
