"""News from ticket systems: which process polls for changes, and which events were seen before."""

from dataclasses import dataclass
from typing import Any, Literal

from proxy.store.client.scripts import POLL_TURN, PollTurnArguments
from proxy.store.requests import RequestStore


@dataclass(frozen=True, slots=True)
class Turn:
    """One process's chance to poll a ticket system for changes."""

    ours: bool
    """True if this process polls now."""
    now: int
    """The store's time, in ms since the epoch."""
    next: int
    """When the next poll is due, by the store's clock."""
    watermark: int
    """Up to when changes were read, by the ticket system's clock; 0 before the first poll."""


class PollTurns:
    """Polling turns shared by all processes: one per system and interval."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store

    async def turn(self, system: str, interval: int) -> Turn:
        """Take the turn to poll a system, if no process has taken it within `interval` ms."""
        now = await self._store.now()
        ours, at, watermark = await self._run(system, interval)
        return Turn(ours=bool(ours), now=now, next=int(at), watermark=int(watermark or 0))

    async def advance_watermark(self, system: str, moment: int) -> None:
        """Remember up to when a system's changes were read, by that system's clock."""
        await self._run(system, 0, moment)

    async def _run(self, system: str, interval: int, watermark: int | Literal[""] = "") -> Any:
        args = PollTurnArguments(self._store.time, system, interval, watermark)
        key = self._store.keys.shared("changes")
        return await self._store.batcher.script(POLL_TURN, [key], args)


class EventDedup:
    """Events that were received recently, so that a repeated one is ignored."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store

    async def mark_seen(self, system: str, replay_key: str, *, keep: int) -> bool:
        """Remember an event for `keep` ms; False if it is remembered already."""
        key = self._store.keys.seen(system, replay_key)
        return await self._store.batcher.command("SET", key, "1", "PX", keep, "NX") is not None
