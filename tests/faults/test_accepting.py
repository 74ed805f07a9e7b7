"""Accepting cannot starve working: who is told 202 is worked for while others still knock."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from typing_extensions import override

from proxy.app import assemble
from tests.bench.load import Load
from tests.bench.run import CALLBACKS, MANY, line_of, running
from tests.rig import make_settings, settings_tree

CONNECTIONS = 64
ACCEPTED = 640


class Knocking(Load):
    """Sends the next call as soon as one is answered, until so many are."""

    @override
    def answered(self, head: bytes, since: float) -> None:
        super().answered(head, since)
        if len(self.latencies) >= ACCEPTED:
            self.until = 0.0


@pytest.fixture
async def neighbours() -> AsyncIterator[asyncio.subprocess.Process]:
    """A desk and a witboost in a process of their own."""
    async with running("-m", "tests.bench.neighbours") as program:
        yield program


@pytest.mark.parametrize("working", [True, False], ids=["as it is", "as if it only accepted"])
async def test_callbacks_arrive_while_calls_are_accepted_without_a_pause(
    neighbours: asyncio.subprocess.Process, redis_url: str, tmp_path: Path, *, working: bool
) -> None:
    """Counted, not timed: of so many accepted calls, a third are done when the last is accepted.

    The control takes in one call for each connection, as a process does that leaves the work to
    others.
    """
    near = CALLBACKS.format(int(await line_of(neighbours)))
    tree = settings_tree(desk=near, witboost=near, redis_url=redis_url, folder=tmp_path)
    tree["ticket_systems"]["desk"]["read_many"] = MANY
    tree["routes"][0]["poll"] = {"first": "10ms"}
    async with assemble(make_settings(tmp_path, tree)) as program:
        runner = web.AppRunner(program.listener(working=working), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        worker = program.worker()
        work = asyncio.create_task(worker.run())
        load = Knocking(runner.addresses[0][1], 3_600.0, near)
        await load.closed(CONNECTIONS)
        assert neighbours.stdin is not None
        neighbours.stdin.write(b"count\n")
        counted = json.loads(await line_of(neighbours))
        await worker.stop(10.0)
        await work
        await runner.cleanup()
    assert load.refused == 0
    assert (counted["statuses"] >= ACCEPTED // 3) == working
