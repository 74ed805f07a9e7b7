"""Pages of the list of requests, and the cursor from one to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from proxy.domain.models import Record
from proxy.store.requests import RequestStore
from proxy.web.operator_api.bodies import Filter

_MOST_REPEATED: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the list that begins after the record `last`, admitted at `moment`.

    The store pages by the millisecond of admission alone. So a cursor also holds how many records
    of that millisecond earlier pages had (`repeated`): they are fetched again and left out.
    """

    filter: Filter
    moment: int | None = None
    repeated: int = 0
    last: str = ""

    @classmethod
    def of(cls, selection: Filter) -> Self:
        """Return the page that a filter begins at."""
        if not selection.before:
            return cls(filter=selection)
        moment, repeated, last = selection.before.split(".")
        return cls(
            filter=selection,
            moment=int(moment),
            repeated=min(int(repeated), _MOST_REPEATED),
            last=last,
        )

    def matches(self, record: Record) -> bool:
        """Return True if the filter selects a record; a page gets shorter by the others."""
        selection = self.filter
        return (
            selection.system in ("", record.system)
            and selection.instance in ("", record.instance)
            and selection.code in ("", record.code)
        )

    @property
    def fetch(self) -> int:
        """The number of ids to read: those of the page, and those that are repeated."""
        return self.filter.limit + self.repeated

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
        more = len(records) > self.filter.limit
        records = records[: self.filter.limit]
        if not records or (fetched < self.fetch and not more):
            return records, ""
        last = records[-1]
        repeated = sum(record.admitted_at == last.admitted_at for record in records)
        if last.admitted_at == self.moment:
            repeated += self.repeated
        return records, f"{last.admitted_at}.{repeated}.{last.id}"


async def read_page(store: RequestStore, page: Page) -> tuple[Sequence[Record], str]:
    """Return the records of a page and the cursor of the next one, empty at the end."""
    ids = await store.list_ids(page.filter.state, limit=page.fetch, before=page.before)
    return page.slice(await store.records(ids), fetched=len(ids))
