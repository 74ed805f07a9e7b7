"""The shape of a `rest` declaration: what a person writes, and what is frozen with each request.

Whatever can be checked without calling the system is checked here, so that a slip of the keyboard
is found by `check` and not by the first request.
"""

import difflib
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator
from typing_extensions import override

from proxy.tickets.calls import NAMES, CallShape, ChangeCall, CreateCall, FindCall, ReadCall, Shape
from proxy.tickets.declaration import Declaration
from proxy.tickets.expressions import Expression
from proxy.tickets.templates import leaves_of, mentions

SHORTEST_LIMIT = 16
"""A text cut to less than this would be its own mark of being cut."""


class TicketPlaces(Shape):
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


Operation = TypeVar("Operation", bound=CallShape)


class RestDeclaration(Declaration):
    """One ticket system without code: its calls, what its answers mean, its events.

    `limits` maps leaves of the create body to the longest text they take. `idempotent` says that
    the system makes one ticket of two creates with the same idempotency key.
    """

    kind: Literal["rest"] = "rest"
    create: CreateCall
    find: FindCall | None = None
    read: ReadCall
    comment: ChangeCall | None = None
    cancel: ChangeCall | None = None
    ping: CallShape | None = None
    ticket: TicketPlaces = TicketPlaces()
    limits: dict[str, Annotated[int, Field(ge=SHORTEST_LIMIT)]] = Field(default_factory=dict)
    idempotent: bool = False

    @property
    @override
    def names_deciders(self) -> bool:
        return bool(self.ticket.decided_by or self.ticket.deciders)

    @field_validator("create", "find", "read", "comment", "cancel", "ping")
    @classmethod
    def _templates_are_sound(cls, call: Operation | None, info: ValidationInfo) -> Operation | None:
        problems = list(call.problems(NAMES[info.field_name or ""])) if call else []
        if problems:
            raise ValueError("; ".join(problems))
        return call

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
