"""A network that fails before each of the four servers that the program speaks to.

Each exchange of a request's life suffers each fault in turn. Whatever it was: one ticket, the right
status, and nobody had to help.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest

from proxy.demo.verdict import judge
from proxy.domain.schedule import DAY
from proxy.errors import ProxyError
from proxy.simulators.witboost import HookCall, Witboost
from tests.support.faults.child import AT_REST
from tests.support.faults.fault_proxy import KINDS, Fault, FaultProxy, Kind
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import GRANT, Rig, desk_tree, open_rig
from tests.support.waiting import wait_until

Place = Literal["redis", "token endpoint", "ticket system", "witboost"]
PLACES: tuple[Place, ...] = ("redis", "token endpoint", "ticket system", "witboost")
EXCHANGES: Mapping[Place, int] = {
    "redis": 15,
    "token endpoint": 1,
    "ticket system": 2,
    "witboost": 1,
}
"""At least so many exchanges has a life at each place."""

DEADLINE = "400ms"
TURNS = 60
SUFFERS: Mapping[Kind, Mapping[str, Any]] = {
    "reset": {"after": 20},
    "cut": {"after": 20},
    "truncate": {"after": 20},
    "delay": {"seconds": 0.05},
    "throttle": {"rate": 4_000},
}
"""How much of each fault, where it has a measure."""


@pytest.fixture
def patience() -> contextlib.AbstractContextManager[Any]:
    """Wait for the store for a shorter time than in earnest."""
    return patch("proxy.store.client.pipeline._ANSWERED_WITHIN", 0.4)


@pytest.fixture
async def proxies() -> AsyncIterator[Mapping[Place, FaultProxy]]:
    async with AsyncExitStack() as stack:
        yield {
            place: await stack.enter_async_context(FaultProxy("tcp://127.0.0.1:1"))
            for place in PLACES
        }


@pytest.fixture
async def rig(
    tmp_path: Path,
    redis_url: str,
    clock: ManualClock,
    proxies: Mapping[Place, FaultProxy],
    patience: contextlib.AbstractContextManager[Any],
) -> AsyncIterator[Rig]:
    """The program, and a fault proxy before everything that it speaks to."""
    proxies["redis"].point_at(redis_url)

    def declare(url: str) -> dict[str, Any]:
        for place in ("token endpoint", "ticket system"):
            proxies[place].point_at(url)
        tree = desk_tree(_url(proxies["ticket system"]))
        tree["auth"]["token_url"] = f"{_url(proxies['token endpoint'])}/oauth/token"
        return {**tree, "deadline": DEADLINE}

    @asynccontextmanager
    async def instance(witboost: Witboost) -> AsyncIterator[Mapping[str, Any]]:
        proxies["witboost"].point_at(witboost.url)
        witboost._public_url = _url(proxies["witboost"])
        yield {"callback": {"deadline": DEADLINE}}

    redis = _url(proxies["redis"], "redis")
    with patience:
        async with open_rig(tmp_path, redis, clock, declare=declare, instance=instance) as rig:
            yield rig
            await check_store(rig.program.store)


def _url(proxy: FaultProxy, scheme: str = "http") -> str:
    return proxy.url.replace("tcp", scheme)


async def live(rig: Rig) -> None:
    """Play one request to its end, with nobody's help."""
    rig.clock.advance(DAY)  # the last token has expired
    await ask(rig)
    for _ in range(TURNS):
        with contextlib.suppress(ProxyError):  # as the worker's own loop does
            await rig.worker.run_due()
            read = {entry["ticket"] for entry in rig.desk.journal.of("read")}
            for ticket in rig.tickets():
                if ticket["status"] == "new" and ticket["id"] in read:
                    rig.desk.decide(ticket["id"], "approved")
            await rig.desk.events_sent()
            due = await rig.program.store.next_due()
            if due is None or due - rig.clock.now() >= AT_REST:
                return
            rig.clock.advance(max(due - rig.clock.now(), 0))
    raise AssertionError("not at rest")


async def ask(rig: Rig) -> HookCall:
    """Send a hook call until it is accepted, as a person at witboost does."""
    call = await rig.witboost.ask(dict(GRANT))
    while call.status != 202:
        assert (call.status, "Retry-After" in call.headers) == (500, True), call
        call = await rig.witboost.ask(dict(GRANT), respond_to=call.respond_to)
    return call


def judged(rig: Rig, lives: int) -> None:
    """One ticket and one status for each life, by the journals of desk and witboost."""
    verdict = judge(rig.desk.journal.entries, rig.witboost.journal.entries)
    assert verdict.problems == ()
    assert [row.status for row in verdict.rows] == ["OK"] * lives


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
async def test_any_exchange_may_suffer_anything(
    rig: Rig, proxies: Mapping[Place, FaultProxy], kind: Kind, place: Place
) -> None:
    stride = 3 if place == "redis" else 1
    first = random.randrange(stride)  # pytest-randomly prints the seed
    lives = 0
    for number in itertools.count(first, stride):
        fault = Fault(kind, skip=number, **SUFFERS.get(kind, {}))
        proxies[place].switch_on(fault)
        await live(rig)
        lives += 1
        fault.off()
        if not fault.struck:
            break
    assert lives > EXCHANGES[place] // stride
    judged(rig, lives)


@pytest.mark.parametrize("place", PLACES[1:])
async def test_an_outage_is_waited_for(
    rig: Rig, proxies: Mapping[Place, FaultProxy], place: Place
) -> None:
    """Nobody can be reached for a day; then work goes on by itself."""
    outage = proxies[place].switch_on(Fault("refuse", times=None))
    call = await rig.ask()
    for _ in range(8):
        await rig.work(after=DAY // 8)
        for ticket in rig.tickets():
            if ticket["status"] == "new":
                rig.desk.decide(ticket["id"], "approved")
    assert rig.final(call) is None
    outage.off()
    await wait_until(lambda: proxies[place].listens)
    await live(rig)
    judged(rig, 2)


async def test_without_a_store_hook_calls_are_refused_and_workers_wait(
    rig: Rig, proxies: Mapping[Place, FaultProxy]
) -> None:
    """Nothing is acknowledged that is not kept; the worker's own loop finds the store again."""
    outage = proxies["redis"].switch_on(Fault("refuse", times=None))
    await wait_until(lambda: not proxies["redis"].listens)
    work = asyncio.create_task(rig.worker.run())
    try:
        call = await rig.witboost.ask(dict(GRANT))
        assert (call.status, call.headers.get("Retry-After")) == (500, "5")
        outage.off()
        await wait_until(lambda: proxies["redis"].listens)
        await rig.witboost.ask(dict(GRANT), respond_to=call.respond_to)
        await wait_until(lambda: len(rig.tickets()) == 1, within=20)
    finally:
        await rig.worker.stop(5)
        await work
    assert 'store_unreachable"' in rig.program.metrics.text().decode()
