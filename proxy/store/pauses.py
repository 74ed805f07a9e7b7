"""Pauses of destinations, shared by all processes; see `engine/pauses` for when one begins."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from proxy.domain.schedule import LONGEST_PAUSE, SECOND
from proxy.errors import StoreUnavailableError
from proxy.store.client.scripts import PAUSE, RESUME, PauseArguments, ResumeArguments
from proxy.store.queries import flat, pairs
from proxy.store.requests import RequestStore

BACK_PER_SECOND: Final = 200
"""Requests made due per second after a pause: a quarter of what one process completes
(docs/figures.md), which leaves capacity for the other destinations."""


class Cause(StrEnum):
    """Why a destination is not called; the cause decides what ends the pause.

    MISCONFIGURED: it refuses our credential or permission; a success ends it. UNREACHABLE: several
    requests in a row failed; any answer ends it. RATE_LIMITED: it asked for a delay; any answer
    after that ends it. MAINTENANCE: an operator began it, and only an operator ends it.
    """

    MISCONFIGURED = "misconfigured"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    MAINTENANCE = "maintenance"


PASSING: Final = (Cause.UNREACHABLE, Cause.RATE_LIMITED)
"""Causes that any answer ends, a refusal included."""

OURS: Final = "approval-proxy"
"""Author of the pauses that no operator began."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The latest pause of a destination, which may have ended."""

    since: int = 0
    """Begin, in ms since the epoch; 0 if the destination is not paused."""
    cause: Cause = Cause.MISCONFIGURED
    """Why it is paused, or was."""
    reason: str = ""
    """The error message, or an operator's words; empty after the end."""
    probe_at: int = 0
    """When the next request may try the destination."""
    resumed_at: int = 0
    """End of the last pause: proof that another request succeeded then."""
    returning: bool = False
    """True from the end of a pause until the requests that waited for it are due again."""


class PauseStore:
    """The pauses of all destinations, and what waits for them."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store

    async def pause(
        self,
        destination: str,
        reason: str,
        *,
        probe_after: int,
        cause: Cause = Cause.MISCONFIGURED,
        by: str = OURS,
    ) -> bool:
        """Stop using a destination; True for the caller that began the pause.

        Maintenance replaces any other pause, and no other pause replaces maintenance.
        """
        return await self._run(
            PauseArguments(
                action="pause",
                now=self._store.time,
                destination=destination,
                causes=cause.value,
                reason=reason,
                by=by,
                delay=probe_after,
            )
        )

    async def may_probe(self, destination: str, *, again_after: int) -> bool:
        """Return True for the one request that may try a paused destination now."""
        now = self._store.time
        return await self._run(PauseArguments("probe", now, destination, delay=again_after))

    async def resume(
        self,
        destination: str,
        *,
        causes: Collection[Cause] = tuple(Cause),
        by: str = OURS,
        reason: str = "",
    ) -> bool:
        """End a pause that has one of these causes; True for the caller that ended it.

        That caller also requeues the requests that wait. If it fails before that, the next process
        that reads the pauses does it.
        """
        ended = await self._run(
            PauseArguments(
                action="resume",
                now=self._store.time,
                destination=destination,
                causes=" ".join(causes),
                reason=reason,
                by=by,
            )
        )
        if ended:
            await self.requeue_waiting(destination)
        return ended

    async def requeue_waiting(self, destination: str) -> None:
        """Make the requests due that wait for a resumed destination; repeating it is harmless.

        Requests in a partition that does not answer are retried when they are due anyway.
        """
        tags = self._store.keys.tags()
        args = ResumeArguments(
            now=self._store.time,
            destination=destination,
            ahead=LONGEST_PAUSE,
            spacing=len(tags) * SECOND // BACK_PER_SECOND,
        )
        made_due = [self._store.batcher.script(RESUME, [tag], args) for tag in tags]
        with contextlib.suppress(StoreUnavailableError):
            await asyncio.gather(*made_due)
        with contextlib.suppress(StoreUnavailableError):
            await self._run(PauseArguments("returned", self._store.time, destination))

    async def pauses(self) -> dict[str, Pause]:
        """Return every destination that is paused or was paused before."""
        key = self._store.keys.shared("pauses")
        fields = pairs(flat(await self._store.batcher.command("HGETALL", key)))
        return {name.decode(): _pause(orjson.loads(text)) for name, text in fields}

    async def _run(self, args: PauseArguments) -> bool:
        keys = [self._store.keys.shared("pauses"), self._store.keys.audit_stream("pauses")]
        return bool(await self._store.batcher.script(PAUSE, keys, args))


def _pause(stored: Mapping[str, Any]) -> Pause:
    """Return a pause as any version wrote it."""
    cause = Cause(stored.get("cause", Cause.MISCONFIGURED))
    moments = {name: int(stored[name]) for name in ("since", "probe_at", "resumed_at")}
    returning = bool(stored.get("returning"))
    return Pause(cause=cause, reason=stored["reason"], returning=returning, **moments)
