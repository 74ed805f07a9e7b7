"""Pages of the list of requests, and the cursor from one to the next."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from proxy.domain.models import Record, State
from proxy.errors import InvalidRequestError
from proxy.store.requests import RequestStore

_DEFAULT_LIMIT: Final = 50
_LARGEST_LIMIT: Final = 200
_CURSOR: Final = re.compile(r"([0-9]{1,15})\.([0-9]{1,6})\.([a-z0-9]{1,64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the list that begins after the record `last`, admitted at `moment`.

    The store pages by the millisecond of admission alone. So a cursor also holds how many records
    of that millisecond earlier pages had (`repeated`): they are fetched again and left out.
    """

    states: Sequence[State]
    limit: int
    system: str = ""
    instance: str = ""
    code: str = ""
    details: bool = False
    """Rows include who asks for what."""
    moment: int | None = None
    repeated: int = 0
    last: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Return the page that a query describes.

        Raises:
            InvalidRequest: a parameter is not valid.
        """
        limit = query.get("limit", str(_DEFAULT_LIMIT))
        if not limit.isdecimal() or not 0 < int(limit[:9]) <= _LARGEST_LIMIT:
            raise InvalidRequestError(f"limit must be a number from 1 to {_LARGEST_LIMIT}")
        names = query["state"].split(",") if "state" in query else []
        if not set(names) <= set(State):
            raise InvalidRequestError(f"state must be one or several of {', '.join(State)}")
        states = [state for state in State if not names or state in names]
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
            repeated=min(int(cursor[2]), 10 * _LARGEST_LIMIT),
            last=cursor[3],
        )

    def matches(self, record: Record) -> bool:
        """Return True if the filter selects a record; a page gets shorter by the others."""
        return (
            self.system in ("", record.system)
            and self.instance in ("", record.instance)
            and self.code in ("", record.code)
        )

    @property
    def fetch(self) -> int:
        """The number of ids to read: those of the page, and those that are repeated."""
        return self.limit + self.repeated

    @property
    def before(self) -> int | None:
        """The time, in milliseconds, before which the records of the page were admitted."""
        return None if self.moment is None else self.moment + 1

    def slice(self, records: Sequence[Record], *, fetched: int) -> tuple[Sequence[Record], str]:
        """Return the page and the cursor of the next one, empty at the end.

        `fetched` is how many ids the store returned; some of their records may be gone since.
        """
        if self.moment is not None:
            end = (self.moment, self.last)
            records = [record for record in records if (record.admitted_at, record.id) < end]
        more = len(records) > self.limit
        records = records[: self.limit]
        if not records or (fetched < self.fetch and not more):
            return records, ""
        last = records[-1]
        repeated = sum(record.admitted_at == last.admitted_at for record in records)
        if last.admitted_at == self.moment:
            repeated += self.repeated
        return records, f"{last.admitted_at}.{repeated}.{last.id}"


async def read_page(store: RequestStore, page: Page) -> tuple[Sequence[Record], str]:
    """Return the records of a page and the cursor of the next one, empty at the end."""
    ids = await store.list_ids(page.states, limit=page.fetch, before=page.before)
    return page.slice(await store.records(ids), fetched=len(ids))
