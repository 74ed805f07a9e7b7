"""The models that validate the bodies and queries of operators; OpenAPI has their schemas."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from proxy.domain.models import State

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
States = Annotated[
    Sequence[State],
    BeforeValidator(lambda text: text.split(",") if isinstance(text, str) else text),
    WithJsonSchema({"type": "string"}),
]
"""States in one text, separated by commas."""
Cursor = Annotated[str, StringConstraints(pattern=r"^([0-9]{1,15}\.[0-9]{1,6}\.[a-z0-9]{1,64})?$")]


class RequestModel(BaseModel):
    """A body or a query that an operator sends; unknown fields are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        use_attribute_docstrings=True,
        defer_build=True,  # only a process that an operator calls needs the validators
    )


class ReasonBody(RequestModel):
    """An action that needs a reason alone."""

    reason: Text
    """Why; it goes into the history."""


class RetryBody(ReasonBody):
    """Send a held or dead request back to work."""

    no_ticket_exists: StrictBool = False
    """The operator vouches that a create in doubt made no ticket."""


class AttachBody(ReasonBody):
    """Link a request to the ticket that belongs to it."""

    ticket_key: Text


class TrialBody(RequestModel):
    """Open a request marked TEST."""

    system: Text
    fields: dict[str, Any] = {}
    """The fields of a hook call; the motivation is marked TEST."""


class Filter(RequestModel):
    """A selection of requests, and the page of it that is wanted."""

    state: States = tuple(State)
    """One or several states, separated by commas; all without it."""
    system: str = ""
    instance: str = ""
    code: str = ""
    limit: int = Field(default=50, ge=1, le=200)
    before: Cursor = ""
    """The `next` of an earlier page."""


class ListQuery(Filter):
    """The parameters of the list of requests."""

    ticket: str = ""
    """The key or id of a ticket."""
    details: Literal["false", "true"] = "false"
    """Rows include who asks for what."""


class BulkFilter(Filter):
    """The requests of a bulk action; a filter without a state would select too many by mistake."""

    model_config = ConfigDict(extra="forbid")

    state: States
    limit: int = Field(default=100, ge=1, le=200)


class BulkBody(ReasonBody):
    """Act on every request that a filter selects, a page at a time."""

    filter: BulkFilter
    dry_run: StrictBool = True
    """Only count the requests."""


BODIES: tuple[type[RequestModel], ...] = (ReasonBody, RetryBody, AttachBody, TrialBody, BulkBody)
