"""The worker: claim due requests, let the flow process them, sleep until the next due time.

A worker that dies needs no recovery: the requests that it held become due again when their leases
end.
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

LONGEST_SLEEP_SECONDS: Final = 5.0
"""The longest delay after a lost wake-up."""

OTHER_PARTITIONS_DELAY_MS: Final = 250
"""The time that a due request in the partitions of another worker is left to that worker."""

_log: Final = logging.getLogger(__name__)


class Worker:
    """Processes due requests, `concurrency` at a time; `lease` and `margin` are in milliseconds.

    `own` are the tags of the partitions that it serves first (default: all): so that workers that
    share the work do not all claim the same requests. Due requests of other partitions, whose
    worker is busy, hangs or died, are claimed a moment later.
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
        self._has_capacity = asyncio.Event()
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Work until `stop` is called; wait for an unreachable store."""
        self._idle.clear()
        waits = False
        try:
            async with _wake_ups(self._store, self._woken):
                while not self._stopping:
                    try:
                        await self._claim_or_sleep()
                        waits = False
                    except ProxyError as error:
                        if not waits:  # one alarm, not one every second
                            message = f"The worker waits: {error}"
                            self._alarms.sound(Alarm.STORE_UNREACHABLE, message)
                        waits = True
                        await self._sleep(1.0)
        finally:
            self._idle.set()

    async def stop(self, within: float) -> None:
        """Claim no more, finish the held requests within some seconds, release the others."""
        self._stopping = True
        self._woken.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()  # a claim under way may still bring requests
                while self._tasks:
                    await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run_due(self) -> int:
        """Process every request that is due now, and return their number."""
        done = 0
        while await self._claim([*self._own, *self._others]):
            done += len(self._tasks)
            await asyncio.gather(*self._tasks)
        return done

    async def _claim_or_sleep(self) -> None:
        self._woken.clear()
        if self._stopping:
            return
        if len(self._tasks) < self._concurrency and await self._claim(self._own):
            return
        if len(self._tasks) >= self._concurrency:
            self._has_capacity.clear()
            await self._has_capacity.wait()
            return
        due, others_due, now = await asyncio.gather(
            self._store.next_due(self._own),
            self._store.next_due(self._others),
            self._store.now(),
        )
        if others_due is not None:
            others_due += OTHER_PARTITIONS_DELAY_MS
            if others_due <= now and await self._claim([*self._own, *self._others]):
                return
        waits = [at - now for at in (due, others_due) if at is not None]
        await self._sleep(min(waits) / 1_000 if waits else LONGEST_SLEEP_SECONDS)

    async def _claim(self, tags: Sequence[str]) -> bool:
        """Claim due requests there, up to the free capacity; return True if there were any."""
        began = self._clock.monotonic()
        free = self._concurrency - len(self._tasks)
        claim = await self._store.claim(worker=self._name, limit=free, lease=self._lease, tags=tags)
        lease = Lease(
            clock=self._clock,
            claimed_at=claim.now,
            began=began,
            received=self._clock.monotonic(),
            length=self._lease,
            margin=self._margin,
        )
        for correlation_id, reason in claim.unread.items():
            self._alarms.sound(
                Alarm.REQUEST_UNREADABLE,
                f"Request {correlation_id} cannot be read and is not processed; it is tried"
                f" again when its lease ends: {reason}",
                correlation_id=correlation_id,
            )
        leases = {tag: replace(lease, run_id=run_id) for tag, run_id in claim.run_ids.items()}
        for entry in claim.entries:
            own = leases.get(self._store.keys.tag_of(entry.record.id), lease)
            task = asyncio.create_task(self._attend(entry, own))
            self._tasks.add(task)
            task.add_done_callback(self._task_done)
        return bool(claim.entries)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # a quarter at a time: claims of one request each would wait for the store once per request
        if len(self._tasks) <= self._concurrency * 3 // 4:
            self._has_capacity.set()

    async def _attend(self, entry: StoredRequest, lease: Lease) -> None:
        record = entry.record
        try:
            with logs.about(correlation=record.id, request=record.request_id):
                await self._flow.attend(entry, lease)
        except asyncio.CancelledError:
            await self._release(entry)
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

    async def _release(self, entry: StoredRequest) -> None:
        """Release a record: make it due now, not at the end of its lease, if it is still ours."""
        with contextlib.suppress(ProxyError):
            stored = await self._store.load(entry.record.id)
            if stored and stored.record.fence == entry.record.fence:
                await self._store.commit(stored, stored, due=await self._store.now())

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), min(max(seconds, 0), LONGEST_SLEEP_SECONDS))


@contextlib.asynccontextmanager
async def _wake_ups(store: RequestStore, woken: asyncio.Event) -> AsyncIterator[None]:
    """Set the event whenever a process stores an earlier due time."""
    task = asyncio.create_task(store.listen(woken.set))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
