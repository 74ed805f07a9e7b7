"""REST declaration: the model of a `rest` system in the settings, frozen with each request.

Everything that can be checked without calling the system is checked here, so that `check` finds a
typing mistake before the first request does.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator
from typing_extensions import override

from proxy.domain.models import Outcome
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.declaring.calls import (
    CallShape,
    ChangeCall,
    CreateCall,
    FindCall,
    FollowUp,
    ReadCall,
)
from proxy.tickets.declaring.context import NAMES
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.model import DeclarationModel
from proxy.tickets.declaring.templates import mentions, texts_of
from proxy.tickets.rest.lists import ApprovalsCall, ChangesCall, ReadManyCall

SHORTEST_LIMIT = 16
"""A shorter limit would leave little more than the mark of a cut text."""


class TicketPaths(DeclarationModel):
    """The expressions that find the values of a ticket; a value without one stays empty."""

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
    """One ticket system without code: its calls, and the meaning of its answers.

    `limits` maps leaves of the create body to the longest text that the system accepts there.
    `idempotent` is true if two creates with the same idempotency key lead to one ticket.
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
        """Yield every declared call with the name of its operation."""
        for operation in NAMES:
            if isinstance(call := getattr(self, operation), CallShape):
                yield operation, call
        for at, follow_up in enumerate(self.follow_ups):
            yield f"follow_ups.{at}", follow_up
            if follow_up.unless:
                yield f"follow_ups.{at}.unless", follow_up.unless

    @field_validator(*NAMES)
    @classmethod
    def _templates_are_sound(cls, declared: Calls, info: ValidationInfo) -> Calls:
        names = NAMES[info.field_name or ""]
        calls: Sequence[CallShape] = ()
        if declared is not None:
            calls = declared if isinstance(declared, tuple) else (declared,)
        problems = [problem for call in calls for problem in call.problems(names)]
        if problems:
            raise ValueError("; ".join(problems))
        return declared

    @model_validator(mode="after")
    def _approvals_decide_alone(self) -> Self:
        """Refuse a decision map that approves without the approvals, and useless calls."""
        if self.approvals is None:
            return self
        if approving := [
            status for status, outcome in self.decision.items() if outcome is _APPROVED
        ]:
            raise ValueError(
                f"decision: {approving[0]!r} approves, but the approvals decide: map it to pending"
            )
        if self.read_many is not None:
            raise ValueError("read_many saves nothing where approvals are read for each ticket")
        statuses = {self.status_word(status) for status in self.approvals.decision}
        if len(statuses) < len(self.approvals.decision):
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
                " the ticket that is found, or that the repeated create returns"
            )
        return self

    @model_validator(mode="after")
    def _limits_name_leaves(self) -> Self:
        leaves = [path for path, _ in texts_of(self.create.body)]
        for path in self.limits:
            if path not in leaves:
                near = difflib.get_close_matches(path, leaves, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(leaves)}"
                raise ValueError(f"limits: create.body has no text at {path!r}: {hint}")
        return self

    @model_validator(mode="after")
    def _lost_tickets_can_be_recognised(self) -> Self:
        """Refuse a look-up or idempotency by a correlation id that tickets do not contain."""
        carried = any(
            mentions(source, "correlation_id")
            for path, source in self.create.templates()
            if path.removeprefix("body.") not in self.limits
        )
        if (self.find or self.idempotent) and not carried:
            raise ValueError(
                "create does not write the correlation id, or only where limits may cut it: find"
                " and idempotent need it"
            )
        if self.find is not None and not any(
            mentions(source, "correlation_id") for _, source in self.find.templates()
        ):
            raise ValueError("find does not mention correlation_id: it would find other tickets")
        if self.find is None and self.ping is None:
            raise ValueError("ping is required without find: no other call is harmless")
        return self
