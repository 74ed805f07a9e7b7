"""The HTTP calls of a `rest` declaration, as people write them in the settings."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator
from typing_extensions import override

from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.model import DeclarationModel, HeaderName, Text
from proxy.tickets.declaring.templates import problems_of, problems_of_path, texts_of

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


class CallShape(DeclarationModel):
    """One HTTP call, whose path is below `base_url`; a status outside `success` is an error.

    A query parameter that is exactly one `{{ expression }}` is left out if its value is null, and
    repeated if it is a list; the same applies to a field of a body with the encoding `form`.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str
    query: dict[str, Text] = Field(default={})
    headers: dict[HeaderName, Text] = Field(default={})
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
                raise ValueError(f"{name} cannot be set here: the connection or credential sets it")
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
            flat = [
                item for value in values for item in (value if isinstance(value, list) else [value])
            ]
            if any(isinstance(item, dict | list) for item in flat):
                raise ValueError("encoding: form needs a body of names and values, not a tree")
        return self

    def templates(self) -> Iterator[tuple[str, str]]:
        """Yield every template with its path in the declaration."""
        yield "path", self.path
        yield from ((f"query.{name}", value) for name, value in self.query.items())
        yield from ((f"headers.{name}", value) for name, value in self.headers.items())
        yield from texts_of(self.body, "body")

    def problems(self, names: Mapping[str, Collection[str]]) -> Iterator[str]:
        """Yield the problems of the templates, each with the path of its template."""
        yield from (f"path {problem}" for problem in problems_of_path(self.path))
        for path, source in self.templates():
            if "{{" in path:
                yield f"{path} has a template for a key: only values can be templates"
            yield from (f"{path} {problem}" for problem in problems_of(source, names))


def _path_with_id(path: str) -> str:
    if path.count("{id}") != 1 or problems_of_path(path.replace("{id}", "x")):
        raise ValueError("must be a path below base_url with {id} in place of the id")
    return path


class CreateCall(CallShape):
    """The call that opens a ticket."""

    method: Literal["POST", "PUT", "PATCH"] = "POST"
    ticket: Expression = "@"
    """The expression that finds the ticket in the answer."""
    location: Annotated[str, AfterValidator(_path_with_id)] | None = None
    """The path in the header `Location` (RFC 9110 10.2.2), such as `/tickets/{id}`, for systems
    that answer a create with nothing else."""


class FindCall(CallShape):
    """The call that looks tickets up by correlation id."""

    method: Literal["GET", "POST"] = "GET"
    tickets: Expression = "@"
    """The expression that finds the list of tickets in the answer."""
    match: Expression
    """The expression that finds, in a ticket, the correlation id or a list that has it: some
    systems drop a filter that they do not understand and answer with other tickets."""


class ReadCall(CallShape):
    """The call that reads one ticket."""

    method: Literal["GET", "POST"] = "GET"
    ticket: Expression = "@"
    """The expression that finds the ticket in the answer."""


class ChangeCall(CallShape):
    """A call that changes a ticket and whose answer is not read.

    With `if_match` or `version` the ticket is read before, and changed only if nobody else has
    changed it since.
    """

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    if_match: bool = False
    """True to send the `ETag` of that read as `If-Match` (RFC 9110 13.1.1)."""
    version: Expression | None = None
    """The expression that finds the version in the ticket, `ticket.version` in the templates."""


class Check(CallShape):
    """A call that shows whether a follow-up was made."""

    method: Literal["GET", "POST"] = "GET"
    found: Expression
    """The expression that finds something in the answer if the follow-up was made."""


class FollowUp(ChangeCall):
    """A call that is made after the creation of a ticket and belongs to it.

    It is made again for a ticket whose create had no answer.
    """

    unless: Check | None = None
    """The check whether it was made; then it is not made again."""
    repeatable: bool = False
    """True if making it twice does no harm."""

    @override
    def problems(self, names: Mapping[str, Collection[str]]) -> Iterator[str]:
        yield from super().problems(names)
        yield from (
            f"unless.{problem}" for problem in (self.unless.problems(names) if self.unless else ())
        )

    @model_validator(mode="after")
    def _is_never_made_twice(self) -> Self:
        if self.method == "POST" and not (self.unless or self.repeatable):
            raise ValueError(
                "a POST that is repeated after a lost answer may have its effect twice: declare how"
                " to see that it was made (`unless`), or that this does no harm"
                " (`repeatable: true`)"
            )
        return self
