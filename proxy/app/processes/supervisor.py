"""Supervises the worker processes of a serving process: start, restart, metrics and stop.

    serve --(socket: settings; EOF means stop)--> worker-1 ... worker-N

A process that ends is restarted after a growing delay, and one that hangs is killed; the requests
that it held become due again when their leases end. See `main` for the other side.
"""

import asyncio
import contextlib
import functools
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from proxy.app.processes.child import STOP_TIMEOUT_SECONDS, ChildProcess
from proxy.app.processes.share import WorkerShare
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics
from proxy.settings import Settings

FIRST_RESTART_SECONDS: Final = 1.0
LONGEST_RESTART_SECONDS: Final = 60.0
"""The delay before a restart, which doubles with each failure in a row."""

STABLE_SECONDS: Final = 60.0
"""The working time after which the delay starts again from the first one."""

_log: Final = logging.getLogger(__name__)


class WorkerSupervisor:
    """The `worker.processes` worker processes; none of them runs before `run`.

    `store_url` returns the present URL of the store.
    """

    def __init__(
        self,
        settings: Settings,
        store_url: Callable[[], str],
        alarms: Alarms,
        metrics: Metrics,
    ) -> None:
        self._count = settings.worker.processes
        self._new_slot = functools.partial(WorkerSlot, settings, store_url, alarms, metrics)
        self._slots: Sequence[WorkerSlot] = ()

    async def run(self) -> None:
        """Keep all processes running until `stop` is called."""
        shares = [WorkerShare(number, self._count) for number in range(1, self._count + 1)]
        self._slots = [self._new_slot(share) for share in shares]
        await asyncio.gather(*[slot.run() for slot in self._slots])

    async def stop(self, within: float) -> None:
        """Stop all processes; they have some seconds to finish or release their requests."""
        await asyncio.gather(*[slot.stop(within + STOP_TIMEOUT_SECONDS) for slot in self._slots])

    @property
    def down(self) -> Mapping[str, str]:
        """The processes that have ended and do not work again yet, with the reason."""
        return {slot.share.name: slot.down for slot in self._slots if slot.down}

    async def metrics(self) -> Mapping[str, bytes]:
        """Return the metrics of each process in the text format; empty if it does not answer."""
        texts = await asyncio.gather(*[slot.metrics() for slot in self._slots])
        return {slot.share.name: text for slot, text in zip(self._slots, texts, strict=True)}


class WorkerSlot:
    """One share of the work, and the process that does it, which is replaced when it ends."""

    def __init__(
        self,
        settings: Settings,
        store_url: Callable[[], str],
        alarms: Alarms,
        metrics: Metrics,
        share: WorkerShare,
    ) -> None:
        self.share = share
        self.down = ""
        self._settings = settings
        self._store_url = store_url
        self._alarms = alarms
        self._up = metrics.worker_up.labels(share.name)
        self._process: ChildProcess | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Start a process, and restart it whenever it ends, until `stop` is called."""
        self._ended.clear()
        try:
            await self._run()
        finally:
            self._ended.set()

    async def _run(self) -> None:
        delay, time = FIRST_RESTART_SECONDS, asyncio.get_running_loop().time
        while not self._stopping.is_set():
            began = time()
            how = await self._run_process()
            if self._stopping.is_set():
                return
            delay = FIRST_RESTART_SECONDS if time() - began > STABLE_SECONDS else delay
            self.down = f"{self.share.name} {how}, and is started again"
            self._alarms.sound(
                Alarm.WORKER_ENDED,
                f"{self.down} in {delay:g} s. The requests that it held become due again when their"
                " leases end; its last lines in this log, or the system log, may show the cause.",
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(2 * delay, LONGEST_RESTART_SECONDS)

    async def stop(self, within: float) -> None:
        """Let the process end within some seconds, or kill it; do not restart it."""
        self._stopping.set()
        if self._process is not None:
            self._process.stop(within)
        await self._ended.wait()

    async def metrics(self) -> bytes:
        """Return the metrics of the process; empty if it is down or does not answer."""
        return await self._process.metrics() if self._process else b""

    async def _run_process(self) -> str:
        """Run one process until it ends, and return how it ended."""
        name = self.share.name
        try:
            self._process = process = await ChildProcess.start("proxy.app.processes.main", name)
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        if self._stopping.is_set():  # while the process was being started
            process.stop(0)
        share = replace(self.share, store_url=self._store_url())
        process.send_order(pickle.dumps((self._settings, share)))
        if await process.wait_until_working():
            self.down = ""
            self._up.set(1)
            _log.info("%s works", name, extra={"pid": process.pid})
        how = await process.wait_until_ended()
        self._up.set(0)
        self._process = None
        return how
