"""A nursery of program processes: one warm process that forks the program as often as it is told.

Run as `python -m tests.faults.child`; each line of its standard input is the `Order` of one child.
A child serves the hook API and works only when it is told to over its channel, letting time pass up
to what is due. With a point to die at, it kills itself there with SIGKILL.
"""

import asyncio
import gc
import os
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
from jinja2 import Environment

from proxy.app import Program, assemble
from proxy.domain.schedule import DAY
from proxy.outbound import NoCredential, Outbound
from proxy.settings import load
from proxy.settings.systems import RestSystem
from proxy.tickets import open_system
from tests.faults.io_steps import Moment, watched
from tests.faults.removals import without
from tests.faults.shared_clock import SharedClock
from tests.rig import desk_tree

AT_REST: Final = 7 * DAY
"""What is due later than that only waits for its retention, or for a deadline."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one child needs: settings and clock files, its channel, and where it shall die.

    `kill` is a step, by its number or its label, and a moment of it. `without` names a mechanism
    to take away (`removals`).
    """

    settings: str
    clock: str
    channel: str
    kill: tuple[int | str, Moment] | None = None
    without: str = ""


@dataclass(slots=True)
class _Life:
    """One child: its channel, its clock and the steps it took."""

    order: Order
    channel: socket.socket
    clock: SharedClock
    steps: list[str] = field(default_factory=list)

    def say(self, **words: Any) -> None:
        self.channel.sendall(orjson.dumps(words, option=orjson.OPT_APPEND_NEWLINE))

    async def moment(self, number: int, label: str, moment: Moment) -> None:
        if moment == "before":
            self.steps.append(label)
        step, when = self.order.kill or (0, "never")
        if step in (number, label) and when == moment:
            self.say(killed=label)
            os.kill(os.getpid(), signal.SIGKILL)

    async def serve(self) -> None:
        reader, _ = await asyncio.open_connection(sock=self.channel.dup())
        settings = load(Path(self.order.settings), {})
        with watched(self.moment), without(self.order.without):
            async with assemble(settings, clock=self.clock, dice=lambda: 0.5) as program:
                runner = web.AppRunner(program.listener(), access_log=None)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.say(port=runner.addresses[0][1])
                await self._work(reader, program)
                await runner.cleanup()

    async def _work(self, reader: asyncio.StreamReader, program: Program) -> None:
        """Work off what is due next, once per line, until the channel ends."""
        worker = program.worker()
        while await reader.readline():
            due = await program.store.next_due()
            if due is not None and due - self.clock.now() < AT_REST:
                self.clock.reach(due)
            await worker.run_due()
            due = await program.store.next_due()
            rests = due is None or due - self.clock.now() >= AT_REST
            self.say(rests=rests, steps=self.steps)


def _live(order: Order) -> int:
    """Be one child until its channel ends; return the exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(order.channel)
        life = _Life(order, channel, SharedClock(Path(order.clock)))
        try:
            asyncio.run(life.serve())
        except BaseException as error:  # noqa: BLE001 - whatever it was, the test must hear of it
            traceback.print_exc()
            life.say(failed=repr(error))
            return 1
    return 0


def warm_up() -> None:
    """Compile the templates of the desk once for all children: half of their start."""
    Environment.compile = cache(Environment.compile)  # type: ignore[assignment, method-assign]
    tree = {**desk_tree("http://desk.example.com"), "kind": "rest"}
    declaration = RestSystem.model_validate(tree).declaration
    http = Outbound().destination(
        "desk", origins=[declaration.base_url], deadline=1, concurrency=1, credential=NoCredential()
    )
    open_system(
        name="desk",
        declaration=declaration.model_dump(mode="json"),
        http=http,
        event_secrets=lambda: [b"secret"],
    )


def main(orders: Iterable[str]) -> None:
    """Fork a child per order; children are reaped by the kernel."""
    warm_up()
    gc.collect()
    gc.freeze()  # else the first collection in a child copies every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in orders:
        order = Order(**orjson.loads(line))
        if os.fork() == 0:
            os._exit(_live(order))


if __name__ == "__main__":
    main(sys.stdin)
