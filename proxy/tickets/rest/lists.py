"""Calls of a `rest` declaration that answer with lists: tickets by id, changes, approvals."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Outcome
from proxy.tickets.declaring.calls import CallShape, DeclarationModel, Text
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.timestamps import TimestampFormat

_COUNTED: Final = frozenset({"offset", "page"})
_NAMED: Final = frozenset({"cursor", "next_token", "body_url"})


class Pages(DeclarationModel):
    """How the next page of a list is asked for.

    `offset` and `page` count entries and pages (the first page is `first`); `cursor` is what `next`
    finds in the last entry, `next_token` what it finds in the answer; `link_header` follows
    `rel="next"` (RFC 8288), `body_url` the URL that `next` finds in the answer. `parameter` is the
    name in the query, or in a body, under which all but the URLs are sent.

    A list ends where there is nothing next, where `more` finds nothing, or at an empty page: a
    short page proves nothing, as systems give fewer entries than they are asked for.
    """

    style: Literal["offset", "page", "cursor", "next_token", "link_header", "body_url"]
    parameter: str | None = None
    first: Annotated[int, Field(ge=0)] = 1
    next: Expression | None = None
    more: Expression | None = None

    @property
    def counted(self) -> bool:
        """Whether an entry that moves meanwhile takes others to another page."""
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
    """A call whose answer holds a list, in one page where `pages` does not say otherwise."""

    method: Literal["GET", "POST"] = "GET"
    pages: Pages | None = None

    @model_validator(mode="after")
    def _follows_what_it_can(self) -> Self:
        if self.method == "POST" and self.pages and self.pages.style in {"link_header", "body_url"}:
            raise ValueError(f"pages: style {self.pages.style} goes on with a GET, not with a POST")
        return self


class ReadManyCall(ListCall):
    """How many tickets are read by `ids`, `most` of them at once."""

    tickets: Expression = "@"
    most: Annotated[int, Field(ge=2, le=1_000)] = 100


class ChangesCall(ListCall):
    """How the system is asked for whatever changed at or after `since`.

    In each entry, `id` finds a ticket's id and `updated` when it changed, both written as `time`
    says. `overlap` is how much later than its time a change may turn up: it covers the precision
    of the times and an index that lags.
    """

    tickets: Expression = "@"
    id: Expression = "id"
    updated: Expression
    time: TimestampFormat = TimestampFormat()
    overlap: Annotated[Milliseconds, Field(ge=1_000)] = 60_000


class ApprovalsCall(ListCall):
    """How the approvals of one ticket are read, where they and not the ticket decide.

    `rule` makes one outcome of many: `all` must approve and one rejection is enough, `any` one
    approval is enough, `final` the last one of the list counts. None at all is no approval, and
    cancelled ones do not count.
    """

    approvals: Expression = "@"
    rule: Literal["all", "any", "final"]
    status: Expression = "status"
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)]
    decided_by: Expression | None = None
    deciders: Expression | None = None
    decider_groups: Expression | None = None
    comment: Expression | None = None
    decided_at: Expression | None = None
