"""The HTTP calls of a `rest` declaration, as a person writes them."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)
from typing_extensions import override

from proxy.domain.models import ApprovalRequest
from proxy.domain.text import clean
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.sanitize import plain
from proxy.tickets.declaring.templates import leaves_of, problems_of, problems_of_path

_REQUEST_NAMES: Final[Mapping[str, Collection[str]]] = {
    name: () for name in ApprovalRequest.__dataclass_fields__ if name != "respond_to"
}
_TICKET: Final = {"ticket": ("id",)}
NAMES: Final[Mapping[str, Mapping[str, Collection[str]]]] = {
    "create": _REQUEST_NAMES,
    "find": {"correlation_id": ()},
    "read": _TICKET,
    "read_many": {"ids": ()},
    "changes": {"since": ()},
    "approvals": _TICKET,
    "follow_ups": {"ticket": ("id", "key", "fields", "version"), "correlation_id": ()},
    "comment": {"ticket": ("id", "version"), "text": ()},
    "cancel": {"ticket": ("id", "version"), "reason": ()},
    "ping": {},
}
"""What the templates of each operation may mention."""


def template_context(
    request: ApprovalRequest,
    text: Callable[[str], str] = clean,
    *,
    only: Collection[str] = _REQUEST_NAMES,
) -> dict[str, Any]:
    """Return what the templates of a new ticket may mention, with the values of this request.

    Every text in them went through `text`: cleaned before a template sees it, what a template does
    with lines it does with all of them. `only` are the names that the templates do mention.
    """
    return {name: plain(getattr(request, name), text) for name in only}


_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a field name, RFC 9110 5.6.2
_NOT_OURS: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "proxy-authorization",
        "transfer-encoding",
    }
)


def _number_as_text(value: object) -> object:
    """Take `limit: 10` for `"10"`; not `on` and `no`, which YAML reads as true and false."""
    if isinstance(value, bool):
        raise ValueError("YAML reads this word as true or false: put it in quotes")  # noqa: TRY004
    return str(value) if isinstance(value, int) else value


def _field_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    return name


Text = Annotated[str, BeforeValidator(_number_as_text)]
HeaderName = Annotated[str, AfterValidator(_field_name)]


class DeclarationModel(BaseModel):
    """A part of a declaration: unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CallShape(DeclarationModel):
    """One HTTP call, its path below `base_url`; an answer outside `success` is an error.

    A query parameter that is exactly one `{{ expression }}` is left out where that is null, and
    repeated where it is a list; so is a field of a body with the encoding `form`.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str
    query: dict[str, Text] = {}
    headers: dict[HeaderName, Text] = {}
    body: JsonValue = None
    encoding: Literal["json", "form"] = "json"
    success: Annotated[tuple[Annotated[int, Field(ge=200, le=299)], ...], Field(min_length=1)] = (
        200,
        201,
        202,
        204,
    )

    @field_validator("headers")
    @classmethod
    def _leaves_ours_alone(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if name.lower() in _NOT_OURS:
                raise ValueError(f"{name} is not set here: the connection and the credential do it")
        return headers

    @model_validator(mode="after")
    def _carries_a_body_where_http_does(self) -> Self:
        if self.body is not None and self.method in {"GET", "HEAD"}:
            raise ValueError(f"a {self.method} carries no body: use query, or another method")
        return self

    @model_validator(mode="after")
    def _has_a_flat_form(self) -> Self:
        if self.encoding == "form":
            values = self.body.values() if isinstance(self.body, dict) else [{}]
            flat = [each for it in values for each in (it if isinstance(it, list) else [it])]
            if any(isinstance(each, dict | list) for each in flat):
                raise ValueError("encoding: form needs a body of names and values, not a tree")
        return self

    def templates(self) -> Iterator[tuple[str, str]]:
        """Yield every template with the place where it stands."""
        yield "path", self.path
        yield from ((f"query.{name}", value) for name, value in self.query.items())
        yield from ((f"headers.{name}", value) for name, value in self.headers.items())
        for path, leaf in leaves_of(self.body):
            if isinstance(leaf, str):
                yield f"body.{path}" if path else "body", leaf

    def problems(self, known: Mapping[str, Collection[str]]) -> Iterator[str]:
        """Yield what is wrong with the templates, each problem with its place."""
        yield from (f"path {problem}" for problem in problems_of_path(self.path))
        for place, source in self.templates():
            if "{{" in place:
                yield f"{place} has a template for a key: only values can be templates"
            yield from (f"{place} {problem}" for problem in problems_of(source, known))


def _place_of_an_id(path: str) -> str:
    if path.count("{id}") != 1 or problems_of_path(path.replace("{id}", "x")):
        raise ValueError("must be a path below base_url with {id} in the place of the id")
    return path


class CreateCall(CallShape):
    """How a ticket is opened; `ticket` finds it in the answer.

    `location`, such as `/tickets/{id}`, finds the id in the `Location` header (RFC 9110 10.2.2),
    for systems that answer a create with nothing else.
    """

    method: Literal["POST", "PUT", "PATCH"] = "POST"
    ticket: Expression = "@"
    location: Annotated[str, AfterValidator(_place_of_an_id)] | None = None


class FindCall(CallShape):
    """How tickets are looked up by correlation id.

    `match` finds in a ticket what must equal the correlation id, or be a list that holds it: some
    systems drop a filter that they do not understand, and answer with other people's tickets.
    """

    method: Literal["GET", "POST"] = "GET"
    tickets: Expression = "@"
    match: Expression


class ReadCall(CallShape):
    """How one ticket is read; `ticket` finds it in the answer."""

    method: Literal["GET", "POST"] = "GET"
    ticket: Expression = "@"


class ChangeCall(CallShape):
    """A call that changes a ticket and whose answer is not read.

    With `if_match` or `version` the ticket is read before, and changed only as it was read: the
    `ETag` of that answer goes into `If-Match` (RFC 9110 13.1.1), or what `version` finds in the
    ticket is `ticket.version` in the templates.
    """

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    if_match: bool = False
    version: Expression | None = None


class Check(CallShape):
    """A question that shows whether a follow-up was made: `found` finds something then."""

    method: Literal["GET", "POST"] = "GET"
    found: Expression


class FollowUp(ChangeCall):
    """A call that belongs to a new ticket, after its creation.

    It is made again for a ticket whose create had no answer: `unless` a check shows that it had
    its effect, or because it is `repeatable`.
    """

    unless: Check | None = None
    repeatable: bool = False

    @override
    def problems(self, known: Mapping[str, Collection[str]]) -> Iterator[str]:
        yield from super().problems(known)
        yield from (f"unless.{it}" for it in (self.unless.problems(known) if self.unless else ()))

    @model_validator(mode="after")
    def _is_never_made_twice(self) -> Self:
        if self.method == "POST" and not (self.unless or self.repeatable):
            raise ValueError(
                "a POST made again after a lost answer may have its effect twice: say how to see"
                " that it was made (`unless`), or that this does no harm (`repeatable: true`)"
            )
        return self
