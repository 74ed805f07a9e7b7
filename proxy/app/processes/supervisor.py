"""The worker processes of a process that serves: started, kept alive, asked how they are, ended.

    serve --(socket: settings; its end means stop)--> member 1 ... member N

One that ends is started again, after pauses that grow, and one that hangs is ended; what it held
becomes due again when its lease ends. See `member` for the other side.
"""

import asyncio
import contextlib
import functools
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from proxy.app.processes.child import PATIENCE, ChildProcess
from proxy.app.processes.share import WorkerShare
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics
from proxy.settings import Settings

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds before a process is started again: twice as many after each failure in a row."""

STEADY: Final = 60.0
"""Seconds of work after which an end is the first failure again."""

_log: Final = logging.getLogger(__name__)


class WorkerSupervisor:
    """As many worker processes as `worker.processes` says; nobody before it runs.

    `store_url` says where the store of this process is now.
    """

    def __init__(
        self,
        settings: Settings,
        store_url: Callable[[], str],
        alarms: Alarms,
        metrics: Metrics,
    ) -> None:
        self._of = settings.worker.processes
        self._open = functools.partial(WorkerSlot, settings, store_url, alarms, metrics)
        self._members: Sequence[WorkerSlot] = ()

    async def run(self) -> None:
        """Keep all of them alive until `stop` is called."""
        parts = [WorkerShare(number, self._of) for number in range(1, self._of + 1)]
        self._members = [self._open(part) for part in parts]
        await asyncio.gather(*[it.keep() for it in self._members])

    async def stop(self, within: float) -> None:
        """Let them finish what they hold within some seconds, or give it back; see them end."""
        await asyncio.gather(*[it.stop(within + PATIENCE) for it in self._members])

    @property
    def down(self) -> Mapping[str, str]:
        """Those that ended and do not work again yet, each with how that was."""
        return {it.part.name: it.down for it in self._members if it.down}

    async def metrics(self) -> Mapping[str, bytes]:
        """Return the metrics of each, in the text format; of one that does not answer, nothing."""
        texts = await asyncio.gather(*[it.metrics() for it in self._members])
        return {it.part.name: text for it, text in zip(self._members, texts, strict=True)}


class WorkerSlot:
    """One part of the work, and the process that does it: one after the other, if need be."""

    def __init__(
        self,
        settings: Settings,
        store_url: Callable[[], str],
        alarms: Alarms,
        metrics: Metrics,
        part: WorkerShare,
    ) -> None:
        self.part = part
        self.down = ""
        self._settings = settings
        self._store_url = store_url
        self._alarms = alarms
        self._up = metrics.worker_up.labels(part.name)
        self._process: ChildProcess | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def keep(self) -> None:
        """Start a process, and another one whenever it ends, until told to stop."""
        self._ended.clear()
        try:
            await self._keep()
        finally:
            self._ended.set()

    async def _keep(self) -> None:
        pause, time = FIRST_PAUSE, asyncio.get_running_loop().time
        while not self._stopping.is_set():
            began = time()
            how = await self._live()
            if self._stopping.is_set():
                return
            pause = FIRST_PAUSE if time() - began > STEADY else pause
            self.down = f"{self.part.name} {how}, and is started again"
            self._alarms.sound(
                Alarm.WORKER_ENDED,
                f"{self.down} in {pause:g} s. What it held becomes due again when its lease ends;"
                " its last lines in this log, or the system's, may say why it ended.",
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def stop(self, within: float) -> None:
        """Let the process end within some seconds, or kill it; start no other one."""
        self._stopping.set()
        if self._process is not None:
            self._process.stop(within)
        await self._ended.wait()

    async def metrics(self) -> bytes:
        """Ask the process for its metrics; of none, or of one that hangs, there are none."""
        return await self._process.metrics() if self._process else b""

    async def _live(self) -> str:
        """Let one process work until it ends, and say how it did."""
        name = self.part.name
        try:
            self._process = process = await ChildProcess.start("proxy.app.processes.main", name)
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        if self._stopping.is_set():  # while it was being started
            process.stop(0)
        part = replace(self.part, store_url=self._store_url())
        process.tell(pickle.dumps((self._settings, part)))
        if await process.works():
            self.down = ""
            self._up.set(1)
            _log.info("%s works", name, extra={"pid": process.pid})
        how = await process.ended()
        self._up.set(0)
        self._process = None
        return how
