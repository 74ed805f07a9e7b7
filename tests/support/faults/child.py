"""A nursery of program processes: one warm process that forks the program as often as it is told.

Run as `python -m tests.support.faults.child`; each line of its standard input is the `Order` of
one child. A child serves the hook API and works only when it is told to over its channel, letting
time pass up to what is due. With a point to meet its end at, it kills itself there, is stopped with
no time to finish, or freezes until somebody continues it.
"""

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web
from jinja2 import Environment, meta

from proxy.app.assembly import assemble
from proxy.app.listeners import application
from proxy.app.runtime import Runtime
from proxy.domain.schedule import DAY
from proxy.errors import ProxyError
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.settings import Settings, load
from proxy.tickets.kinds import open_system
from proxy.worker import Worker
from tests.support.faults.io_steps import Crash, Moment, watched
from tests.support.faults.removals import without
from tests.support.faults.shared_clock import SharedClock
from tests.support.waiting import wait_until

_CHANGES: Final = re.compile(r"ap-\w+|\w*\d\w*")
AT_REST: Final = 7 * DAY
"""What is due later than that only waits for its retention, or for a deadline."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one child needs: settings and clock files, its channel, and where it meets its end.

    `without` names a mechanism to take away (`removals`).
    """

    settings: str
    clock: str
    channel: str
    crash: Crash | None = None
    without: str = ""


@dataclass(slots=True)
class _Life:
    """One child: its channel, its clock and the steps it took."""

    order: Order
    channel: socket.socket
    clock: SharedClock
    steps: list[str] = field(default_factory=list)
    serving: bool = False
    ended_at: str = ""
    met: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, **words: Any) -> None:
        self.channel.sendall(orjson.dumps(words, option=orjson.OPT_APPEND_NEWLINE))

    async def moment(self, number: int, label: str, moment: Moment) -> None:
        """Meet the end at the chosen point; a second time it is passed.

        While the program starts, only a kill makes a difference: a stop waits until it has started.
        """
        if moment == "before":
            self.steps.append(label)
        crash = self.order.crash
        if crash is None or self.met.is_set() or not (self.serving or crash.manner == "kill"):
            return
        if moment != crash.moment or crash.step not in (number, label):
            return
        self.ended_at = label
        self.met.set()
        match crash.manner:
            case "kill":
                self.say(ended=label)
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                await self.go_on.wait()
            case "freeze":
                self._freeze()

    def _freeze(self) -> None:
        """Stop until somebody continues us; the loop's timers see the time that passed."""
        frozen_at = self.clock.monotonic()
        self.say(ended=self.ended_at)
        os.kill(os.getpid(), signal.SIGSTOP)
        passed = (self.clock.monotonic() - frozen_at) / 1_000
        loop = asyncio.get_running_loop()
        time = loop.time
        loop.time = lambda: time() + passed  # type: ignore[method-assign]

    async def serve(self) -> None:
        reader, _ = await asyncio.open_connection(sock=self.channel.dup())
        settings = load(Path(self.order.settings), {})
        with watched(self.moment), without(self.order.without):
            async with assemble(settings, clock=self.clock, dice=lambda: 0.5) as program:
                runner = web.AppRunner(application(program), access_log=None, shutdown_timeout=0.05)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.serving = True
                self.say(port=runner.addresses[0][1])
                worker = program.worker()
                work = asyncio.create_task(self._work(reader, program, worker))
                met = asyncio.create_task(self._stopped())
                await asyncio.wait([work, met], return_when=asyncio.FIRST_COMPLETED)
                if met.done():
                    await self._stop(program, worker, runner)
                    work.cancel()
                met.cancel()
                [ended, _] = await asyncio.gather(work, met, return_exceptions=True)
                await runner.cleanup()
        if self.met.is_set() and self.order.crash and self.order.crash.manner == "stop":
            self.say(ended=self.ended_at)
        elif isinstance(ended, Exception):
            raise ended

    async def _work(self, reader: asyncio.StreamReader, program: Runtime, worker: Worker) -> None:
        """Work off what is due next, once per line, until the channel ends."""
        while await reader.readline():
            rests = False
            with contextlib.suppress(ProxyError):  # as the worker does: the next turn goes on
                due = await program.store.next_due()
                if due is not None and due - self.clock.now() < AT_REST:
                    self.clock.reach(due)
                await program.change_poller.poll()
                await worker.run_due()
                due = await program.store.next_due()
                rests = due is None or due - self.clock.now() >= AT_REST
            self.say(rests=rests, steps=self.steps)

    async def _stopped(self) -> None:
        """Return when the step is met at which the program is told to stop."""
        if self.order.crash is None or self.order.crash.manner != "stop":
            await asyncio.Event().wait()
        await self.met.wait()

    async def _stop(self, program: Runtime, worker: Worker, runner: web.AppRunner) -> None:
        """Stop as SIGTERM does with no time to finish: what was held is due again at once."""
        held = list(worker._tasks)
        stopping = asyncio.gather(worker.stop(0), runner.cleanup())
        await wait_until(lambda: all(it.done() or it.cancelling() for it in held))
        self.go_on.set()
        await stopping
        due = await program.store.next_due()
        assert not held or (due is not None and due <= self.clock.now()), "held, and not given back"


def _live(order: Order) -> int:
    """Be one child until its channel ends; return the exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(order.channel)
        life = _Life(order, channel, SharedClock(Path(order.clock)))
        life.say(pid=os.getpid())
        try:
            asyncio.run(life.serve())
        except BaseException as error:  # noqa: BLE001 - whatever it was, the test must hear of it
            traceback.print_exc()
            life.say(failed=repr(error))
            return 1
    return 0


def remember_templates() -> None:
    """Let everything that is made of a template's text alone be made once: half of a start."""
    for kind, name in (
        (Environment, "compile"),
        (Environment, "parse"),
        (meta, "find_undeclared_variables"),
    ):
        setattr(kind, name, cache(getattr(kind, name)))


def warm_up(settings: Settings) -> None:
    """Open the ticket systems once for all children."""
    for name, system in settings.ticket_systems.items():
        http = Outbound(loopback=True).destination(
            name, origins=[system.base_url], deadline=1, concurrency=1, credential=NoCredential()
        )
        open_system(
            name=name,
            declaration=system.declaration.model_dump(mode="json"),
            http=http,
            event_secrets=lambda: [b"secret"],
        )


def main(orders: Iterable[str]) -> None:
    """Fork a child per order; children are reaped by the kernel."""
    remember_templates()
    known: set[str] = set()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in orders:
        words = orjson.loads(line)
        crash = Crash(**words.pop("crash")) if words["crash"] else words.pop("crash")
        order = Order(**words, crash=crash)
        settings = Path(order.settings)
        # other ports and folders are the same program
        if (shape := _CHANGES.sub("", settings.read_text())) not in known:
            known.add(shape)
            warm_up(load(settings, {}))
            gc.collect()
            gc.freeze()  # else the first collection in a child copies every page
        if os.fork() == 0:
            os._exit(_live(order))


if __name__ == "__main__":
    main(sys.stdin)
