"""Accepting cannot starve working: who is told 202 is worked for while others still knock."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typing_extensions import override

from proxy.app.assembly import assemble
from proxy.app.listeners import application, listeners
from proxy.app.runtime import Runtime
from proxy.simulators.events import signed_headers
from proxy.web.events import Events
from tests.bench.load import Load
from tests.bench.run import CALLBACKS, MANY, line_of, running
from tests.support.rig import EVENT_SECRET, make_settings, settings_tree

CONNECTIONS = 64
ACCEPTED = 640


class Knocking(Load):
    """Sends the next call as soon as one is answered, until so many are."""

    @override
    def answered(self, head: bytes, since: float) -> None:
        super().answered(head, since)
        if len(self.latencies) >= ACCEPTED:
            self.until = 0.0


class Pushing(Load):
    """Sends well-signed events about tickets that nobody knows, each new, without a pause."""

    @override
    def next_call(self) -> bytes:
        self._number += 1
        body = b'{"ticket": {"id": "T-%d"}}' % self._number
        headers = signed_headers(
            EVENT_SECRET, body, event_id=f"e-{self._number}", seconds=int(time.time())
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /ticket-events/desk HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
async def neighbours() -> AsyncIterator[asyncio.subprocess.Process]:
    """A desk and a witboost in a process of their own."""
    async with running("-m", "tests.bench.neighbours") as program:
        yield program


@asynccontextmanager
async def listening(
    near: str, redis_url: str, folder: Path, *, working: bool
) -> AsyncIterator[tuple[Runtime, int]]:
    tree = settings_tree(desk=near, witboost=near, redis_url=redis_url, folder=folder)
    tree["ticket_systems"]["desk"]["read_many"] = MANY
    tree["routes"][0]["poll"] = {"first": "10ms"}
    async with assemble(make_settings(folder, tree)) as program:
        runner = web.AppRunner(application(program, working=working), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield program, runner.addresses[0][1]
        await runner.cleanup()


@pytest.mark.parametrize("working", [True, False], ids=["as it is", "as if it only accepted"])
async def test_callbacks_arrive_while_calls_are_accepted_without_a_pause(
    neighbours: asyncio.subprocess.Process, redis_url: str, tmp_path: Path, *, working: bool
) -> None:
    """Counted, not timed: of so many accepted calls, a third are done when the last is accepted.

    The control takes in one call for each connection, as a process does that leaves the work to
    others.
    """
    near = CALLBACKS.format(int(await line_of(neighbours)))
    async with listening(near, redis_url, tmp_path, working=working) as (program, port):
        worker = program.worker()
        work = asyncio.create_task(worker.run())
        load = Knocking(port, 3_600.0, near)
        await load.closed(CONNECTIONS)
        assert neighbours.stdin is not None
        neighbours.stdin.write(b"count\n")
        counted = json.loads(await line_of(neighbours))
        await worker.stop(10.0)
        await work
    assert load.refused == 0
    assert (counted["statuses"] >= ACCEPTED // 3) == working


@pytest.mark.parametrize("bounded", [True, False], ids=["as it is", "events without a bound"])
async def test_a_flood_of_events_does_not_crowd_out_hook_calls(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bounded: bool
) -> None:
    """Counted, not timed: while so many calls are accepted, fewer events are, however many come."""
    near = CALLBACKS.format(9)
    if not bounded:
        init = Events.__init__

        def unbounded(events: Events, **given: Any) -> None:
            init(events, **{**given, "concurrency_limit": nullcontext()})

        monkeypatch.setattr(Events, "__init__", unbounded)
    async with listening(near, redis_url, tmp_path, working=True) as (_, port):
        flood, load = Pushing(port, 3_600.0, near), Knocking(port, 3_600.0, near)
        flooding = asyncio.create_task(flood.closed(CONNECTIONS))
        await load.closed(CONNECTIONS)
        events, flood.until = len(flood.latencies), 0.0
        await flooding
    assert load.refused == flood.refused == 0
    assert (events < ACCEPTED) == bounded


async def test_events_at_a_place_of_their_own_are_bounded_as_well(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = CALLBACKS.format(9)
    listen = {"port": 8080, "events": {"port": 8443}}
    tree = settings_tree(
        desk=near, witboost=near, redis_url=redis_url, folder=tmp_path, listen=listen
    )
    told: list[bool] = []

    def listener(_program: Runtime, _parts: object, *, working: bool = False) -> web.Application:
        told.append(working)
        return web.Application()

    monkeypatch.setattr("proxy.app.listeners.application", listener)
    async with assemble(make_settings(tmp_path, tree)) as program:
        listeners(program, working=True)
    assert told == [True, True]
