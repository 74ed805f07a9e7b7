"""A master of the store dies under traffic: Sentinel and cluster put a replica in its place."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.verdict import judge
from proxy.domain.models import State
from proxy.simulators.witboost import HookCall
from tests.support.faults.topologies import Topology, cluster, sentinel
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import GRANT, Rig, open_rig
from tests.support.waiting import wait_until

Start = Callable[[Path], AbstractAsyncContextManager[Topology]]
WITHIN = 60.0
MANY = 12
SECOND = 1_000


@asynccontextmanager
async def working(rig: Rig) -> AsyncIterator[None]:
    """Let the worker run by itself while time passes, twenty times as fast as outside."""

    async def tick() -> None:
        while True:
            rig.clock.advance(SECOND)
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(rig.worker.run()), asyncio.create_task(tick())]
    try:
        yield
    finally:
        await rig.worker.stop(5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(rig: Rig) -> HookCall:
    """Send a hook call until it is accepted; what is not kept is answered with 500."""
    call = await rig.witboost.ask(dict(GRANT))

    async def accepted() -> bool:
        nonlocal call
        if call.status != 202:
            assert call.status == 500, call
            call = await rig.witboost.ask(dict(GRANT), respond_to=call.respond_to)
        return call.status == 202

    await wait_until(accepted, within=WITHIN, what="a hook call is accepted")
    return call


async def finish(rig: Rig, calls: list[HookCall]) -> None:
    """Approve every ticket, and wait until witboost has every status."""

    async def finished() -> bool:
        for ticket in rig.tickets():
            if ticket["status"] == "new":
                rig.desk.decide(ticket["id"], "approved")
        with contextlib.suppress(Exception):
            return (await rig.program.store.counts())[State.DONE] == len(calls)
        return False

    await wait_until(finished, within=WITHIN, what="every request is done")


async def counted(client: Any, rig: Rig) -> int:
    """Return how many requests without a ticket are on a server."""
    names = [name async for name in client.scan_iter(match="*:s:received")]
    ours = [it for it in names if rig.program.store.keys.namespace in it.decode()]
    return sum([await client.zcard(name) for name in ours])


def looked_up(rig: Rig) -> set[str]:
    return {entry["correlation_id"] for entry in rig.desk.journal.of("find")}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("start", [sentinel, cluster])
async def test_a_failover_under_traffic_loses_nothing(
    tmp_path: Path, clock: ManualClock, start: Start
) -> None:
    async with start(tmp_path) as redis, open_rig(tmp_path, redis.url, clock) as rig:
        early = [await ask(rig) for _ in range(MANY)]
        await rig.work()
        waiting = [await ask(rig) for _ in range(MANY)]  # admitted, and no ticket yet
        masters = await redis.masters()
        for master in masters:
            assert await master.client.execute_command("WAIT", 1, 5_000) == 1
        assert looked_up(rig) == set()
        held = [await counted(master.client, rig) for master in masters]
        masters[held.index(max(held))].kill()
        async with working(rig):
            during = [await ask(rig) for _ in range(MANY)]
            calls = early + waiting + during
            await finish(rig, calls)
            doubtful = looked_up(rig) & {str(call.correlation_id) for call in waiting}
            last = await ask(rig)
            await finish(rig, [*calls, last])
        assert await redis.masters() != masters
        verdict = judge(rig.desk.journal.entries, rig.witboost.journal.entries)
        assert verdict.problems == ()
        assert [row.status for row in verdict.rows] == ["OK"] * (3 * MANY + 1)
        # another server had the last word: what was admitted before was looked up, and only that
        assert doubtful
        assert start is cluster or len(doubtful) == MANY
        assert str(last.correlation_id) not in looked_up(rig)
        await check_store(rig.program.store)
