"""ServiceNow declaration: the model of a `servicenow` system in the settings."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Outcome
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.declaring.context import NAMES
from proxy.tickets.declaring.default_text import DESCRIPTION, TITLE
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.model import DeclarationModel, HeaderName, Text
from proxy.tickets.declaring.templates import mentions, tree_problems
from proxy.tickets.events.declaration import EventAuth, Events

FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$")]
"""The name of a column or a catalog variable; it needs no escape in an encoded query."""

SysId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

_OURS: Final = frozenset({"correlation_id", "correlation_display", "sys_id", "number"})


class ServiceNowEvents(Events):
    """Events of a business rule, with a time and an HMAC of time and body (`generateMac`)."""

    auth: EventAuth = "hmac"
    header: HeaderName = "X-Hmac-Signature"
    encoding: Literal["hex", "base64"] = "base64"
    signed: str = "{timestamp}.{body}"
    timestamp_header: HeaderName | None = "X-Hmac-Timestamp"
    ticket: Expression | tuple[Expression, ...] = ("sys_id", "number")


class Order(DeclarationModel):
    """A catalog item that is ordered; the requested item (RITM) is the ticket."""

    item: SysId
    """The id of the catalog item."""
    quantity: Annotated[int, Field(ge=1, le=100)] = 1
    """The quantity that is ordered."""
    variables: dict[FieldName, Text] = Field(default_factory=dict)
    """The templates of the item's variables."""
    correlation_variable: FieldName
    """The variable with the correlation id, by which an order is found again."""


class ServiceNowDeclaration(Declaration):
    """A table of tasks, or a catalog item, in a ServiceNow instance."""

    kind: Literal["servicenow"] = "servicenow"
    """The kind of ticket system."""
    table: FieldName = "change_request"
    """The table in which records are created."""
    order: Order | None = None
    """The catalog item that is ordered in place of a record, if any."""
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)
    """The templates of the record's fields."""
    reporter: tuple[FieldName, ...] = ()
    """The fields that refer to the requester's user, such as opened_by."""
    cancel: dict[FieldName, Text] | None = None
    """The fields that are set to withdraw a record, if it can be withdrawn."""
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
        """The templates of a new record, with our default texts."""
        if self.order is not None:
            return dict(self.fields)
        return {"short_description": TITLE, "description": DESCRIPTION, **self.fields}

    @property
    def ticket_table(self) -> str:
        """The table from which tickets are read."""
        return "sc_req_item" if self.order is not None else self.table

    @property
    def read_fields(self) -> tuple[str, ...]:
        """The fields of a record that are read, each once."""
        always = ("sys_id", "number", "correlation_id", "sys_created_on")
        declared = (self.decision_field, self.fulfilment_field, *self.key_fields)
        return tuple(dict.fromkeys((*always, *declared)))

    @model_validator(mode="after")
    def _templates_are_sound(self) -> Self:
        variables = self.order.variables if self.order else {}
        problems = [
            *tree_problems(self.fields, "fields", NAMES["create"]),
            *tree_problems(variables, "order.variables", NAMES["create"]),
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
        if any(mentions(source, "correlation_id") for source in self.order.variables.values()):
            raise ValueError("order.variables: use correlation_variable for the correlation id")
        return self
