"""One page of a list: what was asked for, and the cursor of the page after it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from proxy.domain.models import Record, State
from proxy.errors import InvalidRequestError

_USUAL: Final = 50
_LARGEST: Final = 200
_CURSOR: Final = re.compile(r"([0-9]{1,15})\.([0-9]{1,6})\.([a-z0-9]{1,64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page after the record `last`, admitted at `moment`.

    With `details`, its rows say who asks for what. The store pages by moment alone, so a cursor
    also says how many records of that millisecond were shown already: they are fetched again and
    left out.
    """

    states: Sequence[State]
    limit: int
    system: str = ""
    instance: str = ""
    code: str = ""
    details: bool = False
    moment: int | None = None
    shown: int = 0
    last: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Return what a query asks for.

        Raises:
            InvalidRequest: a parameter is none that we gave or describe.
        """
        limit = query.get("limit", str(_USUAL))
        if not limit.isdecimal() or not 0 < int(limit[:9]) <= _LARGEST:
            raise InvalidRequestError(f"limit must be a number from 1 to {_LARGEST}")
        words = query["state"].split(",") if "state" in query else []
        if not set(words) <= set(State):
            raise InvalidRequestError(f"state must be one or several of {', '.join(State)}")
        states = [state for state in State if not words or state in words]
        if query.get("details", "false") not in {"true", "false"}:
            raise InvalidRequestError("details must be true or false")
        page = cls(
            states=states,
            limit=int(limit),
            system=query.get("system", ""),
            instance=query.get("instance", ""),
            code=query.get("code", ""),
            details=query.get("details") == "true",
        )
        if "before" not in query:
            return page
        cursor = _CURSOR.fullmatch(query["before"])
        if cursor is None:
            raise InvalidRequestError("before must be the `next` of an earlier page")
        return replace(
            page,
            moment=int(cursor[1]),
            shown=min(int(cursor[2]), 10 * _LARGEST),
            last=cursor[3],
        )

    def fits(self, record: Record) -> bool:
        """Whether a record of this page is wanted; those that are not make the page shorter."""
        return (
            self.system in ("", record.system)
            and self.instance in ("", record.instance)
            and self.code in ("", record.code)
        )

    @property
    def fetch(self) -> int:
        """How many ids to read: a page, and what it repeats."""
        return self.limit + self.shown

    @property
    def before(self) -> int | None:
        """The moment, in milliseconds, before which the records were admitted."""
        return None if self.moment is None else self.moment + 1

    def slice(self, records: Sequence[Record], *, full: int) -> tuple[Sequence[Record], str]:
        """Return the page and the cursor of the next one, empty at the end.

        `full` is how many ids were found. Some that were shown may have left the list since.
        """
        if self.moment is not None:
            place = (self.moment, self.last)
            records = [each for each in records if (each.admitted_at, each.id) < place]
        more = len(records) > self.limit
        records = records[: self.limit]
        if not records or (full < self.fetch and not more):
            return records, ""
        last = records[-1]
        shown = sum(each.admitted_at == last.admitted_at for each in records)
        if last.admitted_at == self.moment:
            shown += self.shown
        return records, f"{last.admitted_at}.{shown}.{last.id}"
