"""The shape of a `servicenow` declaration: what a person writes, and what is frozen."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Outcome
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.declaring.calls import NAMES, DeclarationModel, Text
from proxy.tickets.declaring.default_text import DESCRIPTION, TITLE
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.templates import leaves_of, mentions, problems_of
from proxy.tickets.events.declaration import EventAuth, Events

FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$")]
"""A column, or a catalog variable: what may stand in an encoded query as it is."""

SysId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

_OURS: Final = frozenset({"correlation_id", "correlation_display", "sys_id", "number"})


class ServiceNowEvents(Events):
    """Events of a business rule: a time, and a MAC of time and body, from `generateMac`."""

    auth: EventAuth = "hmac"
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "X-Hmac-Signature"
    encoding: Literal["hex", "base64"] = "base64"
    signed: str = "{timestamp}.{body}"
    timestamp_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = "X-Hmac-Timestamp"
    ticket: Expression | tuple[Expression, ...] = ("sys_id", "number")


class Order(DeclarationModel):
    """A catalog item that is ordered; the requested item (RITM) is the ticket.

    `correlation_variable` is a variable of the item: what was ordered is found again by its value.
    """

    item: SysId
    quantity: Annotated[int, Field(ge=1, le=100)] = 1
    variables: dict[FieldName, Text] = Field(default_factory=dict)
    correlation_variable: FieldName


class ServiceNowDeclaration(Declaration):
    """A table of tasks in a ServiceNow instance.

    `fields` are written into the record, `cancel` into one that is withdrawn; `reporter` names
    fields that refer to the requester's user, such as opened_by; `key_fields` are what a decision
    is about. `overlap` is how much later than its time a change may turn up.
    """

    kind: Literal["servicenow"] = "servicenow"
    table: FieldName = "change_request"
    order: Order | None = None
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)
    reporter: tuple[FieldName, ...] = ()
    cancel: dict[FieldName, Text] | None = None
    correlation_display: Annotated[str, Field(pattern=r"^[A-Za-z0-9 _.-]{1,40}$")] = (
        "approval-proxy"
    )
    limits: dict[FieldName, Annotated[int, Field(ge=16)]] = Field(
        default={"short_description": 160, "description": 4000}
    )
    key_fields: tuple[FieldName, ...] = ("short_description", "description")
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)] = Field(
        default={
            "not requested": Outcome.PENDING,
            "requested": Outcome.PENDING,
            "approved": Outcome.APPROVED,
            "rejected": Outcome.REJECTED,
            "cancelled": Outcome.CANCELLED,
        }
    )
    decision_field: FieldName = "approval"
    fulfilment_field: FieldName = "state"
    overlap: Annotated[Milliseconds, Field(ge=1_000)] = 10_000
    events: ServiceNowEvents | None = None

    @property
    def written(self) -> dict[str, JsonValue]:
        """The templates of a new record, with our words where the settings have none."""
        if self.order is not None:
            return dict(self.fields)
        return {"short_description": TITLE, "description": DESCRIPTION, **self.fields}

    @property
    def ticket_table(self) -> str:
        """The table that tickets are read from."""
        return "sc_req_item" if self.order is not None else self.table

    @property
    def read_fields(self) -> tuple[str, ...]:
        """The fields of a record that are read, each once."""
        wanted = ("sys_id", "number", "correlation_id", "sys_created_on")
        told = (self.decision_field, self.fulfilment_field, *self.key_fields)
        return tuple(dict.fromkeys((*wanted, *told)))

    @model_validator(mode="after")
    def _templates_are_sound(self) -> Self:
        problems = [
            f"{place} {problem}"
            for place, source in self._templates()
            for problem in problems_of(source, NAMES["create"])
        ]
        if twice := set(self.reporter) & set(self.fields):
            problems.append(f"reporter: {min(twice)} is written by fields already")
        if taken := _OURS & {*self.fields, *self.reporter}:
            problems.append(f"fields.{min(taken)} is written by the proxy itself")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _order_can_be_found(self) -> Self:
        if self.order is None:
            return self
        if self.order.correlation_variable in self.order.variables:
            raise ValueError("order.correlation_variable is written by the proxy itself")
        if any(mentions(it, "correlation_id") for it in self.order.variables.values()):
            raise ValueError("order.variables: the correlation id goes into correlation_variable")
        return self

    def _templates(self) -> Iterator[tuple[str, str]]:
        for path, leaf in leaves_of(self.fields):
            if isinstance(leaf, str):
                yield f"fields.{path}", leaf
        for name, source in (self.order.variables if self.order else {}).items():
            yield f"order.variables.{name}", source
