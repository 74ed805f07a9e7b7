"""Many open tickets, few decisions, which `make open-tickets` runs.

Open requests with tickets at the desk are put into the store, as if each had been read a while ago
and were due again when the safety net comes. Then tickets are decided, a hundred in each interval,
and the program finds them by asking what has changed: the calls that the desk gets are counted.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.domain.events.ticket import TicketOpened
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import Ticket
from proxy.domain.schedule import DAY, HOUR, SECOND
from proxy.simulators.witboost import HOOKS
from proxy.witboost.hook_call import HookCall
from tests.support.manual_clock import ManualClock
from tests.support.rig import GRANT, Rig, desk_tree, open_rig
from tests.support.servers import start_server

INTERVAL: Final = 30 * SECOND
SAFETY_NET: Final = 6 * HOUR
DECIDED: Final = 100
INTERVALS: Final = 4
MOST_CALLS: Final = 10
"""In an interval: pages of what changed, overlap included, and the decided tickets in batches."""
_CHUNK: Final = 500


def declared(url: str) -> dict[str, Any]:
    """Return the desk's declaration, with its list of changes and the call that reads many."""
    return desk_tree(url) | {
        "changes": {
            "path": "/api/tickets",
            "query": {"updated_since": "{{ since }}"},
            "tickets": "tickets",
            "updated": "updated",
            "pages": {"style": "offset", "parameter": "offset", "more": "more"},
        },
        "read_many": {
            "path": "/api/tickets",
            "query": {"ids": "{{ ids | join(',') }}"},
            "tickets": "tickets",
        },
    }


@dataclass
class Figures:
    """What was seen: calls at the desk per interval, and decisions that witboost heard of late."""

    open: int
    filled: float = 0.0
    seconds: float = 0.0
    calls: list[Counter[str]] = field(default_factory=list)
    late: int = 0

    @property
    def good(self) -> bool:
        """Whether few calls were enough, and no decision came late."""
        return not self.late and max(calls.total() for calls in self.calls) <= MOST_CALLS

    def lines(self) -> list[str]:
        """Return the figures as text."""
        each = "; ".join(
            ", ".join(f"{what} {count}" for what, count in sorted(calls.items()))
            for calls in self.calls
        )
        return [
            f"{self.open} open tickets, stored in {self.filled:.0f} s",
            f"{DECIDED} decided in each of {len(self.calls)} intervals: {self.seconds:.1f} s",
            f"calls at the desk, interval by interval: {each}",
            f"decisions that reached witboost after more than two intervals: {self.late}",
        ]


@contextlib.asynccontextmanager
async def crowded(
    folder: Path, redis_url: str, count: int, **parts: Any
) -> AsyncIterator[tuple[Rig, dict[str, str]]]:
    """Open the program with so many open requests; the mapping has the hook of each ticket."""
    clock = ManualClock()
    async with open_rig(
        folder,
        redis_url,
        clock,
        declare=lambda url: {**declared(url), **parts},
        witboost={"adopt_unknown_hooks": True},
    ) as rig:
        rig.desk.events.target = None
        filed: dict[str, str] = {}
        for start in range(0, count, _CHUNK):
            some = range(start, min(start + _CHUNK, count))
            filed.update(await asyncio.gather(*[_file(rig) for _ in some]))
        clock.advance(2 * DAY)
        yield rig, filed


async def _file(rig: Rig) -> tuple[str, str]:
    """Store one request that waits for its ticket; return the ticket and the hook."""
    hook, now, store = str(uuid.uuid4()), rig.clock.now(), rig.program.store
    respond_to = f"{rig.witboost.url}{HOOKS}/{hook}"
    body = orjson.dumps({"respondToUrl": respond_to, "fields": GRANT})
    call = HookCall(respond_to, body, hook, str(uuid.uuid4()))
    admitted = await rig.program.flow.admit(call, instance="main", client="witboost")
    fields = {"title": "t", "correlation_id": admitted.id}
    filed = rig.desk.tickets.add(fields, pages=rig.desk.url, now=now)
    ticket = Ticket(filed.id, filed.fields["key"], native_status="new")
    entry = await store.load(admitted.id)
    assert entry is not None
    pending = advance_entry(entry, TicketOpened(at=now, ticket=ticket))
    await store.commit(entry, pending, due=now + 2 * DAY + SAFETY_NET)
    return filed.id, hook


async def play(rig: Rig, filed: dict[str, str], figures: Figures, dice: random.Random) -> None:
    """Decide some tickets in each interval, let the program work, count."""
    began, left = time.monotonic(), sorted(filed)
    dice.shuffle(left)
    waiting: list[tuple[int, str]] = []
    await rig.program.change_poller.poll()
    for number in range(INTERVALS):
        for ticket in [left.pop() for _ in range(DECIDED)]:
            rig.desk.decide(ticket, dice.choice(("approved", "rejected")))
            waiting.append((number, filed[ticket]))
        seen = len(rig.desk.journal.entries)
        await _interval(rig)
        kinds = [it["kind"] for it in rig.desk.journal.entries[seen:]]
        figures.calls.append(Counter(kind for kind in kinds if kind in {"list", "read", "find"}))
        waiting = [(since, hook) for since, hook in waiting if not _told(rig, hook)]
        figures.late += sum(since < number for since, _ in waiting)
    await _interval(rig)
    figures.late += sum(not _told(rig, hook) for _, hook in waiting)
    figures.seconds = time.monotonic() - began


async def _interval(rig: Rig) -> None:
    rig.clock.advance(INTERVAL)
    await rig.program.change_poller.poll()
    await rig.worker.run_due()


def _told(rig: Rig, hook: str) -> bool:
    return any(it.get("outcome") == "accepted" for it in rig.witboost.attempts(hook))


async def measured(folder: Path, redis_url: str, count: int, **parts: Any) -> Figures:
    """Return what is seen with so many open tickets."""
    figures, began = Figures(count), time.monotonic()
    async with crowded(folder, redis_url, count, **parts) as (rig, filed):
        figures.filled = time.monotonic() - began
        await play(rig, filed, figures, random.Random(count))
    return figures


async def _main(count: int) -> int:
    with tempfile.TemporaryDirectory(prefix="ap-") as folder:
        server = await start_server(Path(folder) / "store", "embedded", fsync="everysec")
        try:
            few, many = [
                await measured(Path(folder), server.url, each) for each in (count // 100, count)
            ]
        finally:
            await server.close()
    print("\n".join([*few.lines(), *many.lines()]))  # noqa: T201 - the point of the script
    return 0 if few.good and many.good else 1


def main() -> int:
    """Read the arguments, play, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", type=int, default=100_000)
    return asyncio.run(_main(parser.parse_args().open))


if __name__ == "__main__":
    sys.exit(main())
