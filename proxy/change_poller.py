"""The change poller: one list of changes per interval instead of one read per ticket.

A list of changes is a hint, as an event is: it makes the requests concerned due, and their tickets
are read as usual. All processes share the turns and the watermark up to which changes are known,
so another process continues where one stopped. Changes that a list misses are found by the rare
reads of each ticket.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from proxy.domain.models import TicketHint
from proxy.domain.schedule import DAY, MINUTE, SECOND
from proxy.engine.pauses import Pauses
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.flow import Flow
from proxy.observability.alarms import Alarm, Alarms
from proxy.store.changes import PollTurns
from proxy.tickets.port import ListsChanges

FIRST_LOOK: Final = DAY
"""How far back the first list goes: more than any error of a clock or a time zone."""
AHEAD: Final = 15 * MINUTE
"""How far the ticket system's clock may be ahead of ours."""
_CHUNK: Final = 100
"""How many tickets are looked up in the store at once."""

_log: Final = logging.getLogger(__name__)


class ChangePoller:
    """Polls each ticket system that lists changes, once per `interval` ms over all processes."""

    def __init__(
        self,
        *,
        systems: Mapping[str, ListsChanges],
        flow: Flow,
        turns: PollTurns,
        pauses: Pauses,
        alarms: Alarms,
        interval: int,
    ) -> None:
        self._systems = systems
        self._flow = flow
        self._turns = turns
        self._pauses = pauses
        self._alarms = alarms
        self._interval = interval
        self._hinted: dict[str, Mapping[str, int]] = {}
        self._failing: set[str] = set()
        self._refused_at: dict[str, int] = {}

    async def run(self) -> None:
        """Poll each system at its turn, until cancelled; without a system, only wait."""
        if not self._systems:
            await asyncio.Event().wait()
        while True:
            wait = self._interval
            try:
                wait = await self.poll()
            except ProxyError as error:
                self._alarms.sound(Alarm.STORE_UNREACHABLE, f"Changes are not looked for: {error}")
            await asyncio.sleep(wait / SECOND)

    async def poll(self) -> int:
        """Poll every system whose turn it is; return the milliseconds until the next turn.

        Raises:
            StoreUnavailableError: turns and hints are kept in the store.
        """
        waits = [await self._turn(name) for name in self._systems]
        return min(waits, default=self._interval)

    async def _turn(self, name: str) -> int:
        turn = await self._turns.turn(name, self._interval)
        if turn.ours and await self._pauses.may_call(name):
            try:
                await self._ask(name, turn.watermark or turn.now - FIRST_LOOK, turn.now)
            except ConfigurationError as error:
                refused_at = self._refused_at.get(name, 0)
                if await self._pauses.on_refused_credential(name, error, refused_at=refused_at):
                    self._refused_at[name] = turn.now
                else:  # other calls succeeded since: our account may not list, only read
                    self._failed(name, error)
            except ProxyError as error:
                if isinstance(error, TemporaryError):
                    await self._pauses.on_failure(name, error, by="changes")
                self._failed(name, error)
        return max(turn.next - turn.now, SECOND)

    async def _ask(self, name: str, watermark: int, now: int) -> None:
        system = self._systems[name]
        changed = await system.changes(watermark - system.overlap)
        await self._pauses.on_success(name)
        self._failing.discard(name)
        self._refused_at.pop(name, None)
        before = self._hinted.get(name, {})
        news = [ref for ref, at in changed.items() if before.get(ref) != at]
        for at in range(0, len(news), _CHUNK):
            await self._flow.hint(name, TicketHint(news[at : at + _CHUNK], ""))
        # only now: a crash before this line repeats the list, and hints are safe to repeat
        self._hinted[name] = changed
        latest = min(max(changed.values(), default=0), now + AHEAD)
        if latest > watermark or not watermark:
            await self._turns.advance_watermark(name, max(latest, watermark))

    def _failed(self, name: str, error: ProxyError) -> None:
        """Raise an alarm once; decisions are found later, by the reads of each ticket."""
        if name not in self._failing:
            self._failing.add(name)
            self._alarms.sound(
                Alarm.CHANGES_UNREADABLE,
                f"{name} does not list its changes: {error}. Decisions are found late until it"
                " does, by the reads of each ticket.",
                destination=name,
            )
        _log.info("%s: changes could not be read: %s", name, error)
