"""The worker: claim what is due, let the flow attend to it, sleep until the next due time.

A worker that dies needs no recovery: what it held becomes due again when its lease ends.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.models import StoredRequest
from proxy.engine.lease import Lease
from proxy.errors import ProxyError, StoreUnavailableError
from proxy.flow import Flow
from proxy.observability import logs
from proxy.observability.alarms import Alarm, Alarms
from proxy.store.requests import RequestStore

LONGEST_SLEEP: Final = 5.0
"""Seconds; bounds what a lost wake-up can cost."""

PATIENCE: Final = 250
"""Milliseconds for which what is due in others' partitions is left to those."""

_log: Final = logging.getLogger(__name__)


class Worker:
    """Attends to due requests, a bounded number at a time; `lease` and `margin` in milliseconds.

    `own` are the tags of the partitions that it looks at first, where it shares the work with
    others: so they do not all ask for the same. What waits elsewhere, because another one is full,
    hangs or died, it takes soon after. Without any, all are its own.
    """

    def __init__(
        self,
        *,
        name: str,
        store: RequestStore,
        flow: Flow,
        alarms: Alarms,
        clock: Clock,
        concurrency: int,
        lease: int,
        margin: int,
        own: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._store = store
        self._flow = flow
        self._alarms = alarms
        self._clock = clock
        self._concurrency = concurrency
        self._lease = lease
        self._margin = margin
        self._own = own or store.keys.tags()
        self._others = [tag for tag in store.keys.tags() if tag not in self._own]
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Work until `stop` is called; an unreachable store is waited for."""
        self._idle.clear()
        waits = False
        try:
            async with _listening(self._store, self._woken):
                while not self._stopping:
                    try:
                        await self._turn()
                        waits = False
                    except ProxyError as error:
                        if not waits:  # an alarm when it begins, not every second
                            message = f"The worker waits: {error}"
                            self._alarms.sound(Alarm.STORE_UNREACHABLE, message)
                        waits = True
                        await self._sleep(1.0)
        finally:
            self._idle.set()

    async def stop(self, within: float) -> None:
        """Claim nothing more, finish what is held within some seconds, give back the rest."""
        self._stopping = True
        self._woken.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()  # a claim under way may still bring something
                while self._tasks:
                    await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run_due(self) -> int:
        """Attend once to everything that is due now, and return how many that were."""
        done = 0
        while await self._claim([*self._own, *self._others]):
            done += len(self._tasks)
            await asyncio.gather(*self._tasks)
        return done

    async def _turn(self) -> None:
        self._woken.clear()
        if self._stopping:
            return
        if len(self._tasks) < self._concurrency and await self._claim(self._own):
            return
        if len(self._tasks) >= self._concurrency:
            self._room.clear()
            await self._room.wait()
            return
        due, elsewhere, now = await asyncio.gather(
            self._store.next_due(self._own),
            self._store.next_due(self._others),
            self._store.now(),
        )
        if elsewhere is not None:
            elsewhere += PATIENCE
            if elsewhere <= now and await self._claim([*self._own, *self._others]):
                return
        waits = [at - now for at in (due, elsewhere) if at is not None]
        await self._sleep(min(waits) / 1_000 if waits else LONGEST_SLEEP)

    async def _claim(self, tags: Sequence[str]) -> bool:
        """Take what is due there and there is room for; True if there was anything."""
        began = self._clock.monotonic()
        room = self._concurrency - len(self._tasks)
        claim = await self._store.claim(worker=self._name, limit=room, lease=self._lease, tags=tags)
        lease = Lease(
            clock=self._clock,
            claimed_at=claim.now,
            began=began,
            received=self._clock.monotonic(),
            length=self._lease,
            margin=self._margin,
        )
        for correlation_id, why in claim.unread.items():
            self._alarms.sound(
                Alarm.REQUEST_UNREADABLE,
                f"Request {correlation_id} cannot be read, so nothing is done for it; it is tried"
                f" again when its lease ends: {why}",
                correlation_id=correlation_id,
            )
        leases = {tag: replace(lease, run_id=run_id) for tag, run_id in claim.run_ids.items()}
        for entry in claim.entries:
            own = leases.get(self._store.keys.tag_of(entry.record.id), lease)
            task = asyncio.create_task(self._attend(entry, own))
            self._tasks.add(task)
            task.add_done_callback(self._attended)
        return bool(claim.entries)

    def _attended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # a quarter at a time: claiming one by one would wait for the store once per request
        if len(self._tasks) <= self._concurrency * 3 // 4:
            self._room.set()

    async def _attend(self, entry: StoredRequest, lease: Lease) -> None:
        record = entry.record
        try:
            with logs.about(correlation=record.id, request=record.request_id):
                await self._flow.attend(entry, lease)
        except asyncio.CancelledError:
            await self._give_back(entry)
            raise
        except StoreUnavailableError:
            _log.warning("%s: no store; due again when its lease ends", entry.record.id)
        except Exception as error:  # noqa: BLE001 - one request must never stop the worker
            kind = type(error).__name__
            reason = str(error) if isinstance(error, ProxyError) else kind
            _log.exception("%s: a step failed", entry.record.id)
            self._alarms.sound(
                Alarm.UNEXPECTED_ERROR,
                f"A step of request {entry.record.id} failed and is tried again when its lease"
                f" ends: {reason}",
                correlation_id=entry.record.id,
            )

    async def _give_back(self, entry: StoredRequest) -> None:
        """Make a record due at once instead of at the end of its lease, if it is still ours."""
        with contextlib.suppress(ProxyError):
            stored = await self._store.load(entry.record.id)
            if stored and stored.record.fence == entry.record.fence:
                await self._store.commit(stored, stored, due=await self._store.now())

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), min(max(seconds, 0), LONGEST_SLEEP))


@contextlib.asynccontextmanager
async def _listening(store: RequestStore, woken: asyncio.Event) -> AsyncIterator[None]:
    """Set the event whenever something earlier comes in, over all processes."""
    task = asyncio.create_task(store.listen(woken.set))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
