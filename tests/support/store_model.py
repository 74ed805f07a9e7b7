"""What the store promises, without a store: a pure model that the real Lua steps are compared with.

One dictionary of records, and rules that say what each step answers and changes. No indices: what
they hold follows from the records.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from proxy.domain.models import Record, State, StoredRequest
from proxy.domain.replace import replace
from proxy.domain.schedule import LONGEST_PAUSE
from proxy.store.keys import Keys

POLLED = (State.PENDING, State.FULFILLING)
ASIDE = (State.HELD, State.DEAD)


@dataclass
class Kept:
    """One record as the store should have it; times in milliseconds."""

    record: Record
    content: str
    url: str
    due: int | None
    holder: str = ""
    leased: int = 0
    wake: int | None = None
    bucket: int = 0
    lines: int = 1

    def rest(self, due: int | None) -> None:
        """Give the record back; an event that came meanwhile leads to one more read."""
        self.due, wake = due, self.wake
        self.holder, self.leased, self.wake = "", 0, None
        if wake is not None and self.record.state in POLLED:
            self.record = replace(self.record, polls=0)
            self.due = wake if due is None else min(wake, due)

    def waits_for(self, destination: str, now: int) -> bool:
        """Whether the end of this destination's pause brings it back."""
        record = self.record
        waits = record.code == "paused" or record.state in ASIDE
        return waits and destination in {record.system, record.instance} and not self.leased > now


@dataclass
class Model:
    """All records, the newest of each URL, and which request each ticket belongs to.

    `taking` has the request that alone may be given each ticket.
    """

    keys: Keys
    kept: dict[str, Kept] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)
    taking: dict[str, str] = field(default_factory=dict)

    def admit(self, url: str, content: str, *, reuse: bool) -> tuple[str, str | None]:
        """Return the verdict, and the request that stands where it is not a new one."""
        found = self.kept.get(self.newest.get(url, ""))
        if found is None:
            return "new", None
        if found.content == content:
            return "same", found.record.id
        if not found.record.final:
            return "open", found.record.id
        return ("new", None) if reuse else ("used", found.record.id)

    def admitted(self, record: Record, url: str, content: str) -> None:
        """Keep a new record, due at once."""
        self.kept[record.id] = Kept(record, content, url, record.admitted_at)
        self.newest[url] = record.id

    def claim(self, now: int, holder: str, limit: int, lease: int) -> list[str]:
        """Take the earliest of each partition, and return their ids."""
        share = max(limit // self.keys.partitions, 1)
        taken = [
            kept.record.id for tag in self.keys.tags() for _, kept in self._due(tag, 0, now)[:share]
        ]
        for each in taken:
            kept = self.kept[each]
            kept.record = replace(kept.record, fence=kept.record.fence + 1)
            kept.holder, kept.leased, kept.due = holder, now + lease, now + lease
        return taken

    def _due(self, tag: str, after: int, until: int) -> list[tuple[tuple[int, str], Kept]]:
        return sorted(
            ((kept.due, kept.record.id), kept)
            for kept in self.kept.values()
            if kept.due is not None
            and after < kept.due <= until
            and self.keys.tag_of(kept.record.id) == tag
        )

    def bring_back(self, destination: str, now: int, apart: int) -> None:
        """Bring back what waits for a destination, in its order, none later than it was due."""
        for tag in self.keys.tags():
            rows = [kept for _, kept in self._due(tag, now, now + LONGEST_PAUSE)]
            waiting = [kept for kept in rows if kept.waits_for(destination, now)]
            for number, kept in enumerate(waiting):
                assert kept.due is not None
                kept.due = min(kept.due, now + number * apart)

    def waits_for_anything(self, now: int) -> bool:
        """Whether there is somebody to bring back."""
        waiting = (it.due for it in self.kept.values() if it.record.code == "paused")
        return any(due is not None and due > now for due in waiting)

    def reserve(self, ref: str, correlation_id: str) -> str:
        """Return who alone may be given a ticket: the first that asked."""
        return self.taking.setdefault(ref, correlation_id)

    def commit(
        self,
        before: StoredRequest,
        after: StoredRequest,
        due: int | Literal["keep"] | None,
        *,
        lines: int,
        take_over: bool = False,
        only_newest: bool = False,
    ) -> str:
        """Return what becomes of a write: ok, stale or superseded."""
        kept = self.kept.get(before.record.id)
        if kept is None or kept.record.fence != before.record.fence:
            return "stale"
        if only_newest and self.newest.get(kept.url, before.record.id) != before.record.id:
            return "superseded"
        fence = kept.record.fence + take_over
        changed = changes(before.record, after.record)
        kept.record = replace(kept.record, **changed, fence=fence)
        kept.lines += lines
        for ref in set(refs(after.record)) - set(refs(before.record)):
            self.tickets[ref] = kept.record.id
        if due != "keep":
            kept.rest(due)
        return "ok"

    def hint(self, ref: str, now: int, interval: int, burst: int) -> str:
        """Return soon, planned or ignored: `burst` reads at once, then one per interval."""
        kept = self.kept.get(ref)
        if kept is None or kept.record.state not in {*POLLED, State.DONE}:
            return "ignored"
        full = max(kept.bucket, now)
        at = max(now, full - (burst - 1) * interval)
        leased = kept.leased > now
        planned = kept.wake if leased else kept.due
        if planned is not None and now <= planned <= at:
            return "planned"
        kept.bucket = full + interval
        if leased:
            kept.wake = at
        else:
            kept.due, kept.record = at, replace(kept.record, polls=0)
        return "soon"

    def expire(self, record: Record) -> bool:
        """Whether a request is gone afterwards; an open one, or one that changed, is not."""
        kept = self.kept.get(record.id)
        if kept is None:
            return True
        if kept.record.fence != record.fence or not kept.record.final:
            return False
        del self.kept[record.id]
        if self.newest.get(kept.url) == record.id:
            del self.newest[kept.url]
        for ref in refs(kept.record):
            if self.tickets.get(ref) == record.id:
                del self.tickets[ref]
        return True

    def open_counts(self) -> dict[tuple[str, str], int]:
        """Return how many requests are open, by instance and system."""
        opened = [it.record for it in self.kept.values() if not it.record.final]
        return dict(Counter((record.instance, record.system) for record in opened))

    def states(self) -> dict[State, int]:
        """Return how many requests are in each state."""
        found = Counter(kept.record.state for kept in self.kept.values())
        return {state: found[state] for state in State}


def changes(before: Record, after: Record) -> dict[str, Any]:
    """Return the fields in which two records differ, but for the fence."""
    return {
        each.name: getattr(after, each.name)
        for each in dataclasses.fields(Record)
        if each.name != "fence" and getattr(after, each.name) != getattr(before, each.name)
    }


def refs(record: Record) -> Sequence[str]:
    """Return what a ticket is looked up by."""
    return list(_refs(record))


def _refs(record: Record) -> Iterator[str]:
    for ref in (record.ticket_id, record.ticket_key):
        if ref:
            yield f"{record.system}:{ref}"
