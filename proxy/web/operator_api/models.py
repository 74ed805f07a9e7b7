"""The models that render the responses of the operator API; OpenAPI has their schemas.

A field that has a default is left out of a response while it has it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from proxy.domain.models import Decision, Fulfilment, State
from proxy.domain.timestamps import rfc3339
from proxy.store.pauses import Cause
from proxy.web.auth import Role

Timestamp = Annotated[
    int, PlainSerializer(rfc3339), WithJsonSchema({"type": "string", "format": "date-time"})
]
Tree = Annotated[Mapping[str, Any] | None, WithJsonSchema({"type": "object", "nullable": True})]
"""A JSON object, or null."""


class ResponseModel(BaseModel):
    """A response, or a part of one."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        use_attribute_docstrings=True,
        defer_build=True,  # only a process that an operator calls needs the validators
        populate_by_name=True,
        from_attributes=True,
    )

    def json_bytes(self) -> bytes:
        """Return the JSON, without the fields that have their default."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True).encode()


class _Request(ResponseModel):
    """The fields that both clients and operators see."""

    correlation_id: str
    status: State
    decision: Decision | None = None
    ticket_key: str = ""
    ticket_url: str = ""
    reason: str = ""
    """Why it waits, or was set aside."""
    admitted_at: Timestamp
    deadline_at: Timestamp


class Status(_Request):
    """The status of a request, as the client that sent it sees it."""

    decided_by: str = ""
    fulfilment: Fulfilment | None = None
    decided_at: Timestamp = 0
    finished_at: Timestamp = 0


class AccessAsked(ResponseModel):
    """The access that a request is about, as far as fields that are not masked name it."""

    verb: Literal["grant", "revoke", "(masked)"]
    identities: Sequence[str] = ()
    requester: str = ""
    resource: str = ""


class Row(_Request):
    """A row of the list of requests; with `details` also `asked`, `ticketUrl` and `reason`."""

    code: str = ""
    """The stable code of what last went wrong."""
    instance: str
    client: str
    system: str
    attempts: int
    """Failures in a row."""
    access: AccessAsked | None = Field(default=None, alias="asked")


class RequestPage(ResponseModel):
    """A page of the list of requests, which a filter may leave shorter than its limit."""

    requests: Sequence[Row]
    next: str = ""
    """The cursor of the next page; absent at the end."""


class HistoryEntry(ResponseModel):
    """An event in the life of a request, with the fields of its kind.

    A newer release may have written it, so neither its kind nor its state need be known.
    """

    model_config = ConfigDict(extra="allow")

    at: Timestamp
    event: str
    state: str = ""


class FullRequest(Status, Row):
    """Everything about one request."""

    actions: Sequence[
        Literal["release", "retry", "attach", "refresh", "reroute", "reject", "cancel"]
    ]
    """The actions that its state allows to an operator, the most usual first."""
    next_at: Timestamp = 0
    """When work on it continues; while a worker has it, when its lease ends."""
    route: str = ""
    """Hash of the route that was frozen at admission."""
    what_to_do: str = ""
    """Advice for a held or dead request."""
    request_id: str = ""
    ticket_id: str = ""
    native_status: str = ""
    comment: str = ""
    evidence: str = ""
    reads: int
    missing: int
    """Reads in a row that did not find the ticket."""
    callbacks: int
    """Callbacks that may have reached witboost."""
    conflicts: int
    """Decisions after the first that differ from it."""
    returns_to: State | None = None
    """The state that a held or dead request returns to."""
    sent_at: Timestamp = 0
    fulfil_by: Timestamp = 0
    refused_at: Timestamp = 0
    hook_call: Tree
    """What witboost sent."""
    callback: Tree
    """What witboost gets."""
    history: Sequence[HistoryEntry]


class Operator(ResponseModel):
    """The operator who asks."""

    name: str
    role: Role
    """Each role includes those before it."""


class OpenRequests(ResponseModel):
    """The number of open requests of a witboost instance in a ticket system."""

    instance: str
    system: str
    requests: int


class PausedDestination(ResponseModel):
    """A ticket system or witboost instance that is not called at the moment."""

    destination: str
    cause: Cause
    since: Timestamp
    reason: str


class DownWorker(ResponseModel):
    """A worker process that ended and does not work again yet."""

    worker: str
    reason: str


class Overview(ResponseModel):
    """Counts, backlog, pauses and processes at the last refresh from the store."""

    operator: Operator
    requests: Mapping[str, int]
    """Requests by state."""
    backlog: int
    """Accepted requests without a ticket."""
    open: Sequence[OpenRequests]
    destinations: Sequence[str]
    """Ticket systems and witboost instances, which can be paused."""
    paused: Sequence[PausedDestination]
    down: Sequence[DownWorker]


class AlarmEntry(ResponseModel):
    """An alarm."""

    alarm: str
    """Its stable code."""
    at: Timestamp
    """When it was raised last."""
    message: str
    """What happened and what to do."""
    correlation_id: str = ""
    destination: str = ""


class AlarmList(ResponseModel):
    """The last alarms of all processes, one of each kind and destination, the last one first."""

    alarms: Sequence[AlarmEntry]


class PauseList(ResponseModel):
    """Everything that is paused after an action on a destination."""

    destination: str
    paused: Sequence[PausedDestination]


class BulkFailure(ResponseModel):
    """A request on which a bulk action failed."""

    correlation_id: str
    error: str


class BulkResult(ResponseModel):
    """The requests that matched on this page, and the result of the action on them."""

    matching: int
    done: int | None = None
    """Absent after a dry run, as is `failed`."""
    failed: Sequence[BulkFailure] | None = None
    next: str = ""
    """The value of `filter.before` for the next page; absent at the end."""


class Receipt(ResponseModel):
    """A signed receipt: a compact JWS (RFC 7515)."""

    receipt: str


class KeySet(ResponseModel):
    """A JWK set (RFC 7517)."""

    keys: Sequence[Mapping[str, Any]]


RESPONSES: tuple[type[ResponseModel], ...] = (
    *(Status, RequestPage, FullRequest, Overview, AlarmList, PauseList, BulkResult),
    *(Receipt, KeySet),
)
