"""A flood of ticket events: `python -m tests.support.faults.event_flood` (`make event-flood`).

Forged, replayed, renamed, edited, redated and well-signed new ones, mixed by a seed, against a
program whose worker goes on. Nothing is decided by any of them, each wrong one gets the same 401,
and the ticket system is read a bounded number of times.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from proxy.domain.models import State
from proxy.domain.schedule import SECOND
from proxy.engine.context import Policy
from proxy.simulators.events import signed_headers
from tests.support.manual_clock import ManualClock
from tests.support.rig import EVENT_SECRET, Rig, open_rig
from tests.support.servers import start_server

BATCH: Final = 100
STEP: Final = 20
"""Milliseconds of the program's time that pass with each batch: 5,000 events a second."""

Event = tuple[Mapping[str, str], bytes]


class Flood:
    """Makes events of every kind about one ticket, from one that was really sent."""

    def __init__(self, ticket: Mapping[str, Any], clock: ManualClock, dice: random.Random) -> None:
        self._clock = clock
        self._dice = dice
        self._ticket = {name: ticket[name] for name in ("id", "key")}
        self.captured = self.fresh(EVENT_SECRET)
        self.kinds: Mapping[str, Callable[[], Event]] = {
            "forged": lambda: self.fresh(f"guess-{dice.random()}"),
            "replayed": lambda: self.captured,
            "renamed": self._renamed,
            "edited": self._edited,
            "redated": self._redated,
            "unsigned": lambda: ({}, self.captured[1]),
            "new": lambda: self.fresh(EVENT_SECRET),
        }

    def fresh(self, secret: str) -> Event:
        """Return an event that says "approved", signed with a secret."""
        body = orjson.dumps({"ticket": {**self._ticket, "status": "approved"}})
        seconds, name = self._clock.now() // 1_000, str(uuid.UUID(int=self._dice.getrandbits(128)))
        return signed_headers(secret, body, event_id=name, seconds=seconds), body

    def _renamed(self) -> Event:
        headers, body = self.captured
        return {**headers, "X-Desk-Event-Id": str(self._dice.random())}, body

    def _edited(self) -> Event:
        headers, body = self.captured
        return headers, body.replace(b"approved", b"rejected")

    def _redated(self) -> Event:
        headers, body = self.captured
        return {**headers, "X-Desk-Timestamp": str(self._clock.now() // 1_000 + 1)}, body


async def flood(rig: Rig, count: int, seed: int) -> Mapping[str, int]:
    """Send so many events about a pending ticket, and return what was counted.

    Raises:
        AssertionError: an event had an effect that it must not have.
    """
    dice = random.Random(seed)
    call = await rig.ask()
    await rig.work()
    [ticket] = rig.tickets()
    events = Flood(ticket, rig.clock, dice)
    url = f"{rig.url}/ticket-events/desk"
    seen: Counter[str] = Counter()
    refusals: set[bytes] = set()
    before, began = len(rig.desk.journal.of("read")), rig.clock.now()
    async with aiohttp.ClientSession() as session:

        async def send(kind: str) -> None:
            headers, body = events.kinds[kind]()
            async with session.post(url, data=body, headers=headers) as answer:
                seen[f"{kind} {answer.status}"] += 1
                said = await answer.read()
                if answer.status == 401:
                    refusals.add(said)

        await send("replayed")  # the first time it is new
        for _ in range(count // BATCH):
            await asyncio.gather(*(send(dice.choice(list(events.kinds))) for _ in range(BATCH)))
            await rig.work(STEP)
    reads = len(rig.desk.journal.of("read")) - before
    assert await rig.state(call) is State.PENDING
    assert rig.final(call) is None
    assert len(refusals) <= 1
    wrong = {"forged", "edited", "redated", "unsigned"}
    for key in seen:
        kind, status = key.split()
        assert status == ("401" if kind in wrong else "202"), key
    return {**seen, "reads": reads, "milliseconds": rig.clock.now() - began}


def bound(milliseconds: int) -> int:
    """The bucket's burst, what leaks in meanwhile, and polls at their fastest beside it."""
    policy = Policy()
    return policy.hint_burst + milliseconds // policy.hint_interval + milliseconds // SECOND + 4


async def _main(count: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="event-flood-") as folder:
        server = await start_server(Path(folder) / "server", "embedded", fsync="everysec")
        try:
            async with open_rig(Path(folder), server.url, ManualClock()) as rig:
                counted = await flood(rig, count, seed)
        finally:
            await server.close()
    print(f"seed {seed}: {count} events, {counted['reads']} reads of the ticket")  # noqa: T201
    for key in sorted(counted):
        print(f"  {key:<16} {counted[key]}")  # noqa: T201
    return int(counted["reads"] > bound(counted["milliseconds"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(_main(arguments.events, arguments.seed)))
