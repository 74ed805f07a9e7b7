"""What all processes know together beside the requests: routes, pauses, methods, events seen."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from proxy.domain.schedule import LONGEST_PAUSE, SECOND
from proxy.errors import ConfigurationError, StoreUnavailableError
from proxy.store.at_rest import PLAIN
from proxy.store.client.cluster import Cluster
from proxy.store.client.pipeline import translate
from proxy.store.client.scripts import load_script
from proxy.store.placement import IMPORTING, go_on_where_imported
from proxy.store.queries import flat
from proxy.store.requests import LAYOUT, RequestStore

_PAUSE, _LOOK, _RESUME = map(load_script, ("pause", "look", "resume"))

BACK_PER_SECOND: Final = 200
"""Requests brought back after a pause: a quarter of what one process carries through (README,
Figures), so that others have room beside them."""


class Cause(StrEnum):
    """Why a destination is not used: what ends the pause follows from it.

    MISCONFIGURED: it refuses us; a success ends it. UNREACHABLE: it fails one request after the
    other; any answer ends it. RATE_LIMITED: it asked for a pause; any answer after that ends it.
    MAINTENANCE: an operator wants it so, and ends it.
    """

    MISCONFIGURED = "misconfigured"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    MAINTENANCE = "maintenance"


PASSING: Final = (Cause.UNREACHABLE, Cause.RATE_LIMITED)
"""What any answer ends, a refusal included."""

OURS: Final = "approval-proxy"
"""Who pauses and resumes where no operator does."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A destination that is not used now: since when, why, and when one request tries it next.

    `since` is 0 where it is not paused; `resumed_at` is the last end of a pause, which proves
    that another request succeeded. `returning` since then until those that waited have been
    brought back.
    """

    since: int = 0
    cause: Cause = Cause.MISCONFIGURED
    reason: str = ""
    probe_at: int = 0
    resumed_at: int = 0
    returning: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether it is ours to ask a ticket system for its changes, and when the next turn is.

    `known` is the moment up to which changes are known, by that system's clock; 0 at first.
    """

    ours: bool
    now: int
    next: int
    known: int


class Shared:
    """Small facts outside the partitions."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store
        self._call = store.batcher.command
        self._key = store.keys.shared

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

        A pause for maintenance takes the place of any other, and none takes its place.
        """
        return await self._pauses("pause", destination, cause.value, reason, by, probe_after)

    async def may_probe(self, destination: str, *, again_after: int) -> bool:
        """Whether this request may try a paused destination now; one in turn gets a True."""
        return await self._pauses("probe", destination, again_after)

    async def resume(
        self,
        destination: str,
        *,
        causes: Collection[Cause] = tuple(Cause),
        by: str = OURS,
        reason: str = "",
    ) -> bool:
        """End a pause that has one of these causes; True for the caller that ended it.

        That one also brings back the requests that wait. Where the store or the process fails just
        then, whoever looks next does.
        """
        ended = await self._pauses("resume", destination, " ".join(causes), by, reason)
        if ended:
            await self.requeue_waiting(destination)
        return ended

    async def requeue_waiting(self, destination: str) -> None:
        """Make due what waits for a destination that is in use again; a repeat does no harm.

        What a part of the store holds that does not answer comes back when it is due anyway.
        """
        tags, wake = self._store.keys.tags(), self._store.keys.shared("wake")
        apart = len(tags) * SECOND // BACK_PER_SECOND
        words = [self._store.time, destination, LONGEST_PAUSE, apart, wake]
        made_due = [self._store.batcher.script(_RESUME, [tag], words) for tag in tags]
        with contextlib.suppress(StoreUnavailableError):
            await asyncio.gather(*made_due)
        with contextlib.suppress(StoreUnavailableError):
            await self._pauses("returned", destination)

    async def pauses(self) -> dict[str, Pause]:
        """Return every destination that is paused or has been."""
        answer = await self._call("HGETALL", self._key("pauses"))
        found = flat(answer)
        return {
            name.decode(): _pause(orjson.loads(text))
            for name, text in zip(found[::2], found[1::2], strict=True)
        }

    async def _pauses(self, action: str, destination: str, *args: Any) -> bool:
        words = [action, self._store.time, destination, *args]
        keys = [self._key("pauses"), self._store.keys.beside("pauses")]
        return bool(await self._store.batcher.script(_PAUSE, keys, words))

    async def turn(self, system: str, interval: int) -> Turn:
        """Take a turn at asking a system for its changes: one per interval over all processes."""
        now = await self._store.now()
        ours, at, known = await self._look(system, interval)
        return Turn(ours=bool(ours), now=now, next=int(at), known=int(known or 0))

    async def advance_watermark(self, system: str, moment: int) -> None:
        """Remember up to when a system's changes are known, by that system's clock."""
        await self._look(system, 0, moment)

    async def _look(self, *words: Any) -> Any:
        key = self._key("changes")
        return await self._store.batcher.script(_LOOK, [key], [self._store.time, *words])

    async def remember_route(self, digest: str, route: bytes) -> None:
        """Keep a frozen route under its hash; the same again changes nothing."""
        await self._call("HSETNX", self._key("routes"), digest, route)

    async def route(self, digest: str) -> bytes | None:
        """Return a frozen route."""
        route: bytes | None = await self._call("HGET", self._key("routes"), digest)
        return route

    async def get_callback_method(self, instance: str) -> str | None:
        """Return the callback method that an instance took before."""
        method = await self._call("HGET", self._key("methods"), instance)
        return method.decode() if method else None

    async def set_callback_method(self, instance: str, method: str) -> None:
        """Remember the callback method that an instance took."""
        await self._call("HSET", self._key("methods"), instance, method)

    async def mark_seen(self, system: str, replay_key: str, *, keep: int) -> bool:
        """Whether an event was not seen within the last `keep` milliseconds; remembers it."""
        key = self._store.keys.seen(system, replay_key)
        return await self._call("SET", key, "1", "PX", keep, "NX") is not None

    async def connect(self) -> None:
        """Check the layout against the settings and note who the servers are.

        Raises:
            ConfigurationError: the store was written with another number of partitions, with
                another index key, or by a newer version of this program.
        """
        meta = self._key("meta")
        await go_on_where_imported(self._store)
        await self._agree_on_indices(meta)
        await self._agree_on_layout(meta)
        wanted = self._store.keys.partitions
        await self._call("HSETNX", meta, "partitions", wanted)
        found = int(await self._call("HGET", meta, "partitions"))
        if found != wanted:
            raise ConfigurationError(
                f"store.partitions: the store holds {found}, the settings say {wanted}. Set"
                f" store.partitions to {found}; approval-proxy store export and import change it."
            )
        await self._store.refresh_run_ids()

    async def _agree_on_layout(self, meta: str) -> None:
        """Go on with a store of this version, of the one before, or of the one after it."""
        await self._call("HSETNX", meta, "layout", LAYOUT)
        found = int(await self._call("HGET", meta, "layout"))
        if abs(found - LAYOUT) > 1:
            raise ConfigurationError(
                f"store.namespace: the store has layout {found}, and this version of the program"
                f" knows {LAYOUT - 1} to {LAYOUT + 1}. Go to a version between first."
            )
        if found < LAYOUT:
            await self._call("HSET", meta, "layout", LAYOUT)

    async def _agree_on_indices(self, meta: str) -> None:
        """Make digests as they were made when the store was begun: else nothing is found again."""
        privacy = self._store.privacy
        begun, found = await self._call("HMGET", meta, "partitions", "indices")
        if not found:
            # written before the partitions are, so only a store from before has those alone
            first = PLAIN if begun else privacy.indices
            await self._call("HSETNX", meta, "indices", first)
            found = await self._call("HGET", meta, "indices")
        if found.decode() == PLAIN:
            self._store.privacy = privacy.with_plain_indices()
        elif found.startswith(IMPORTING.encode()):
            raise ConfigurationError(
                f"store.namespace: an import into {self._store.keys.namespace} was not finished."
                " Do it again: approval-proxy store import FILE"
            )
        elif found.decode() != privacy.indices:
            raise ConfigurationError(
                "encryption.index_key: the store was begun with another one, and finds nothing"
                " under this. Put it back; or change it by an export and an import: with the old"
                " one, approval-proxy store export FILE; with this one, approval-proxy store"
                " import FILE --replace."
            )


def _pause(found: Mapping[str, Any]) -> Pause:
    """Return a pause as any version wrote it."""
    cause = Cause(found.get("cause", Cause.MISCONFIGURED))
    moments = {name: int(found[name]) for name in ("since", "probe_at", "resumed_at")}
    returning = bool(found.get("returning"))
    return Pause(cause=cause, reason=found["reason"], returning=returning, **moments)


async def dangers(client: Redis | Cluster) -> list[str]:
    """Return what in a Redis server's configuration can lose requests, one sentence each.

    Raises:
        StoreUnavailable: it does not answer at all.
    """
    try:
        settings: dict[Any, Any] = {}
        for pattern in ("maxmemory-policy", "appendonly", "appendfsync", "save"):
            settings |= await client.config_get(pattern)
    except Exception as error:  # managed servers forbid CONFIG in many ways
        if isinstance(silent := translate(error, "CONFIG GET"), StoreUnavailableError):
            raise silent from error
        kind = type(error).__name__
        return [f"Redis does not let us read its configuration ({kind}): check persistence."]
    problems = []
    if (policy := settings.get("maxmemory-policy", "noeviction")) != "noeviction":
        problems.append(
            f"Redis maxmemory-policy is {policy}: it may evict open requests. Set noeviction."
        )
    if settings.get("appendonly") != "yes":
        problems.append("Redis appendonly is off: a restart loses requests. Set appendonly yes.")
    elif settings.get("appendfsync") == "no":
        problems.append("Redis appendfsync is no: set everysec, or always for no loss at all.")
    return problems
