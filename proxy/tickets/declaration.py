"""The shape of a `rest` declaration: what a person writes, and what is frozen with each request.

Whatever can be checked without calling the system is checked here, so that a slip of the keyboard
is found by `check` and not by the first request. Secrets are no part of it: they stay in the
settings and can be rotated under open requests.
"""

import difflib
import re
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from yarl import URL

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Fulfilment, Outcome
from proxy.tickets.calls import (
    NAMES,
    CallShape,
    ChangeCall,
    CreateCall,
    FindCall,
    HeaderName,
    ReadCall,
    Shape,
    Text,
)
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
    comment: Expression | None = None
    decided_at: Expression | None = None
    created: Expression | None = None


class Events(Shape):
    """How pushed events prove where they come from, and which ticket they name.

    `hmac` signs `signed`, in which `{timestamp}`, `{id}` and `{body}` stand for two headers and the
    raw body; `static_header` sends a secret as it is; `basic` sends user and password.
    """

    auth: Literal["hmac", "static_header", "basic"]
    header: HeaderName = "Authorization"
    prefix: str = ""
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = "{body}"
    timestamp_header: HeaderName | None = None
    timestamp_format: Literal["seconds", "milliseconds", "rfc3339"] = "seconds"
    tolerance: Annotated[Milliseconds, Field(gt=0)] = 300_000
    id_header: HeaderName | None = None
    replay_key: Expression | None = None
    ticket: Expression | tuple[Expression, ...]

    @model_validator(mode="after")
    def _proves_what_it_says(self) -> Self:
        placeholders = set(re.findall(r"\{[^{}]*\}", self.signed))
        if self.auth != "hmac":
            if self.signed != "{body}" or self.timestamp_header:
                raise ValueError(f"signed and timestamp_header need auth: hmac, not {self.auth}")
            return self
        if unknown := placeholders - {"{timestamp}", "{id}", "{body}"}:
            raise ValueError(f"signed holds {', '.join(sorted(unknown))}, which is not known")
        if "{body}" not in placeholders:
            raise ValueError("signed lacks {body}: the signature would fit any event")
        if ("{timestamp}" in placeholders) != (self.timestamp_header is not None):
            raise ValueError("timestamp_header and {timestamp} in signed need each other")
        if "{id}" in placeholders and self.id_header is None:
            raise ValueError("{id} in signed needs id_header")
        return self


def _origin_and_prefix(value: str) -> str:
    url = URL(value)
    if url.scheme not in {"http", "https"} or not url.host or url.port is None:
        raise ValueError("must be an http or https URL with a host")
    if url.user is not None or url.password is not None or "?" in value or "#" in value:
        raise ValueError("must hold no credential, query or fragment")
    return str(url).rstrip("/")


Operation = TypeVar("Operation", bound=CallShape)


class RestDeclaration(Shape):
    """One ticket system without code: its calls, what its answers mean, its events.

    `decision` and `fulfilment` map native statuses; a status in neither has no outcome, which the
    flow takes for pending. `limits` maps leaves of the create body to the longest text they take.
    `settle` is the longest time that a created ticket may stay invisible to `find`. `idempotent`
    says that the system makes one ticket of two creates with the same idempotency key.
    """

    kind: Literal["rest"] = "rest"
    base_url: Annotated[str, AfterValidator(_origin_and_prefix)]
    create: CreateCall
    find: FindCall | None = None
    read: ReadCall
    comment: ChangeCall | None = None
    cancel: ChangeCall | None = None
    ping: CallShape | None = None
    ticket: TicketPlaces = TicketPlaces()
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)]
    fulfilment: dict[Text, Fulfilment] = Field(default_factory=dict)
    status_case: Literal["exact", "ignore"] = "exact"
    limits: dict[str, Annotated[int, Field(ge=SHORTEST_LIMIT)]] = Field(default_factory=dict)
    idempotent: bool = False
    deadline: Annotated[Milliseconds, Field(gt=0)] = 10_000
    settle: Annotated[Milliseconds, Field(ge=0)] = 5_000
    concurrency: Annotated[int, Field(ge=1)] = 16
    events: Events | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port: the only place that the credential of this system may go to."""
        return str(URL(self.base_url).origin())

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

    @model_validator(mode="after")
    def _statuses_differ(self) -> Self:
        for name, statuses in (("decision", self.decision), ("fulfilment", self.fulfilment)):
            if len({self.status_word(status) for status in statuses}) < len(statuses):
                raise ValueError(f"{name} has a status twice: status_case is {self.status_case}")
        return self

    def status_word(self, native: str) -> str:
        """Return the form in which native statuses are compared."""
        return native.casefold() if self.status_case == "ignore" else native
