"""REST lists: the declared calls that answer with a list of tickets, changes or approvals."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Outcome
from proxy.tickets.declaring.calls import CallShape
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.model import DeclarationModel, Text
from proxy.tickets.declaring.timestamps import TimestampFormat

_COUNTED: Final = frozenset({"offset", "page"})
_NAMED: Final = frozenset({"cursor", "next_token", "body_url"})


class Pages(DeclarationModel):
    """The pagination of a list.

    A list ends without a next page, if `more` finds nothing, or with an empty page. A short
    page proves nothing: systems return fewer entries than requested.
    """

    style: Literal["offset", "page", "cursor", "next_token", "link_header", "body_url"]
    """`offset` counts entries, `page` counts pages; `cursor` is in the last entry, `next_token` in
    the answer; `link_header` follows `rel="next"` (RFC 8288), `body_url` a URL in the answer."""
    parameter: str | None = None
    """The name of the parameter, in the query or body, for every style but the URLs."""
    first: Annotated[int, Field(ge=0)] = 1
    """The number of the first page."""
    next: Expression | None = None
    """The expression that finds the cursor, token or URL of the next page."""
    more: Expression | None = None
    """The expression that finds something if there is a next page."""

    @property
    def counted(self) -> bool:
        """True if an entry that moves meanwhile shifts others to another page."""
        return self.style in _COUNTED

    @model_validator(mode="after")
    def _says_what_its_style_needs(self) -> Self:
        sent = self.style in _COUNTED | {"cursor", "next_token"}
        for name, needed in (("parameter", sent), ("next", self.style in _NAMED)):
            if (getattr(self, name) is not None) != needed:
                verb = "needs" if needed else "has no use for"
                raise ValueError(f"style {self.style} {verb} {name}")
        return self


class ListCall(CallShape):
    """A call whose answer has a list."""

    method: Literal["GET", "POST"] = "GET"
    pages: Pages | None = None
    """The pagination; without it the list is one page."""

    @model_validator(mode="after")
    def _follows_what_it_can(self) -> Self:
        if self.method == "POST" and self.pages and self.pages.style in {"link_header", "body_url"}:
            raise ValueError(f"pages: style {self.pages.style} goes on with a GET, not with a POST")
        return self


class ReadManyCall(ListCall):
    """The call that reads many tickets by `ids`."""

    tickets: Expression = "@"
    """The expression that finds the list of tickets."""
    most: Annotated[int, Field(ge=2, le=1_000)] = 100
    """The number of tickets that one call may name."""


class ChangesCall(ListCall):
    """The call that lists the tickets that changed at or after `since`."""

    tickets: Expression = "@"
    """The expression that finds the list of entries."""
    id: Expression = "id"
    """The expression that finds the ticket's id in an entry."""
    updated: Expression
    """The expression that finds the time of the change in an entry."""
    time: TimestampFormat = TimestampFormat()
    """The format of `since` and `updated`."""
    overlap: Annotated[Milliseconds, Field(ge=1_000)] = 60_000
    """How much later than its time a change may turn up; it covers the precision of the times and
    an index that lags."""


class ApprovalsCall(ListCall):
    """The call that reads the approvals of a ticket, if they decide in place of its status.

    An empty list does not approve, and cancelled approvals do not count.
    """

    approvals: Expression = "@"
    """The expression that finds the list of approvals."""
    rule: Literal["all", "any", "final"]
    """How they combine: with `all` every one must approve and one rejection is enough, with `any`
    one approval is enough, with `final` only the last one of the list counts."""
    status: Expression = "status"
    """The expression that finds the native status of an approval."""
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)]
    """Native status of an approval to outcome."""
    decided_by: Expression | None = None
    deciders: Expression | None = None
    decider_groups: Expression | None = None
    comment: Expression | None = None
    decided_at: Expression | None = None
