"""The shape of a `rest` declaration: what a person writes, and what is frozen with each request.

Whatever can be checked without calling the system is checked here, so that a slip of the keyboard
is found by `check` and not by the first request.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator
from typing_extensions import override

from proxy.domain.models import Outcome
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.declaring.calls import (
    NAMES,
    CallShape,
    ChangeCall,
    CreateCall,
    DeclarationModel,
    FindCall,
    FollowUp,
    ReadCall,
)
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.templates import leaves_of, mentions
from proxy.tickets.rest.lists import ApprovalsCall, ChangesCall, ReadManyCall

SHORTEST_LIMIT = 16
"""A text cut to less than this would be its own mark of being cut."""


class TicketPaths(DeclarationModel):
    """Where, inside a ticket, its values are found; what is left out stays empty."""

    id: Expression = "id"
    key: Expression | None = None
    url: Expression | None = None
    status: Expression = "status"
    fulfilment: Expression | None = None
    decided_by: Expression | None = None
    deciders: Expression | None = None
    decider_groups: Expression | None = None
    key_fields: Expression | None = None
    comment: Expression | None = None
    decided_at: Expression | None = None
    created: Expression | None = None


Calls = TypeVar("Calls", bound=CallShape | tuple[FollowUp, ...] | None)

_APPROVED: Final = Outcome.APPROVED


class RestDeclaration(Declaration):
    """One ticket system without code: its calls, what its answers mean, its events.

    `limits` maps leaves of the create body to the longest text they take. `idempotent` says that
    the system makes one ticket of two creates with the same idempotency key.
    """

    kind: Literal["rest"] = "rest"
    create: CreateCall
    find: FindCall | None = None
    read: ReadCall
    approvals: ApprovalsCall | None = None
    read_many: ReadManyCall | None = None
    changes: ChangesCall | None = None
    follow_ups: tuple[FollowUp, ...] = ()
    comment: ChangeCall | None = None
    cancel: ChangeCall | None = None
    ping: CallShape | None = None
    ticket: TicketPaths = TicketPaths()
    limits: dict[str, Annotated[int, Field(ge=SHORTEST_LIMIT)]] = Field(default_factory=dict)
    idempotent: bool = False

    @property
    @override
    def names_deciders(self) -> bool:
        places = self.approvals or self.ticket
        return bool(places.decided_by or places.deciders)

    def calls(self) -> Iterator[tuple[str, CallShape]]:
        """Yield every call that is declared, with the name of its operation."""
        for operation in NAMES:
            if isinstance(call := getattr(self, operation), CallShape):
                yield operation, call
        for at, follow_up in enumerate(self.follow_ups):
            yield f"follow_ups.{at}", follow_up
            if follow_up.unless:
                yield f"follow_ups.{at}.unless", follow_up.unless

    @field_validator(*NAMES)
    @classmethod
    def _templates_are_sound(cls, found: Calls, info: ValidationInfo) -> Calls:
        names = NAMES[info.field_name or ""]
        calls: Sequence[CallShape] = ()
        if found is not None:
            calls = found if isinstance(found, tuple) else (found,)
        problems = [problem for call in calls for problem in call.problems(names)]
        if problems:
            raise ValueError("; ".join(problems))
        return found

    @model_validator(mode="after")
    def _approvals_decide_alone(self) -> Self:
        """Refuse what would let something else than the approvals approve, or ask in vain."""
        if self.approvals is None:
            return self
        if approving := [it for it, outcome in self.decision.items() if outcome is _APPROVED]:
            raise ValueError(
                f"decision: {approving[0]!r} approves, but the approvals decide: map it to pending"
            )
        if self.read_many is not None:
            raise ValueError("read_many saves nothing where approvals are read for each ticket")
        words = {self.status_word(status) for status in self.approvals.decision}
        if len(words) < len(self.approvals.decision):
            raise ValueError(
                f"approvals.decision has a status twice: status_case is {self.status_case}"
            )
        return self

    @model_validator(mode="after")
    def _lists_ask_for_what_is_wanted(self) -> Self:
        for operation, name in (("read_many", "ids"), ("changes", "since")):
            call = getattr(self, operation)
            counted = call is not None and call.pages is not None and call.pages.counted
            asks = call is None or any(mentions(source, name) for _, source in call.templates())
            if not asks and not (counted and name == "since"):
                raise ValueError(f"{operation} does not mention {name}: it would list every ticket")
        return self

    @model_validator(mode="after")
    def _follow_ups_can_be_made_up_for(self) -> Self:
        if self.follow_ups and not (self.find or self.idempotent):
            raise ValueError(
                "follow_ups need find, or idempotent: true: after a lost answer they are made for"
                " the ticket that is found, or that comes back"
            )
        return self

    @model_validator(mode="after")
    def _limits_name_leaves(self) -> Self:
        leaves = [path for path, leaf in leaves_of(self.create.body) if isinstance(leaf, str)]
        for path in self.limits:
            if path not in leaves:
                near = difflib.get_close_matches(path, leaves, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(leaves)}"
                raise ValueError(f"limits: create.body has no text at {path!r}: {hint}")
        return self

    @model_validator(mode="after")
    def _lost_tickets_can_be_told(self) -> Self:
        """Refuse what would look up a ticket, or take it for a repeat, by what it does not hold."""
        carried = any(
            mentions(source, "correlation_id")
            for place, source in self.create.templates()
            if place.removeprefix("body.") not in self.limits
        )
        if (self.find or self.idempotent) and not carried:
            raise ValueError(
                "create writes the correlation id nowhere, or only where limits may cut it:"
                " find and idempotent rest on it"
            )
        if self.find is not None and not any(
            mentions(source, "correlation_id") for _, source in self.find.templates()
        ):
            raise ValueError("find does not mention correlation_id: it would find other tickets")
        if self.find is None and self.ping is None:
            raise ValueError("ping is needed where there is no find: no other call is harmless")
        return self
