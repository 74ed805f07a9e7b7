"""The backlog gate and the pages of lists, as tables."""

import asyncio
from dataclasses import replace

import pytest

from proxy.domain.models import State
from proxy.errors import TemporaryError
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.store.pauses import PauseStore
from proxy.store.requests import RequestStore
from proxy.web.backpressure import Backlog, BackpressurePolicy
from proxy.web.health.store_monitor import StoreMonitor
from tests.support.manual_clock import ManualClock

SLOPE = BackpressurePolicy(limit=100, slow_from=50, slowest=2_000)


@pytest.mark.parametrize(
    ("waiting", "delay"), [(0, 0), (49, 0), (50, 0), (51, 40), (75, 1_000), (99, 1_960)]
)
def test_answers_get_slower_as_the_backlog_grows(waiting: int, delay: int) -> None:
    assert SLOPE.delay(waiting) == delay


@pytest.mark.parametrize("waiting", [100, 1_000])
def test_at_the_limit_nothing_is_stored_and_the_caller_is_told_when(waiting: int) -> None:
    with pytest.raises(TemporaryError) as caught:
        SLOPE.delay(waiting)
    assert caught.value.retry_after == 30_000
    assert caught.value.maybe_sent is False


async def test_the_gate_counts_what_came_in_since_the_last_look(
    store: RequestStore, clock: ManualClock
) -> None:
    metrics = Metrics()
    alarms = Alarms(metrics)
    watch = StoreMonitor(
        store=store, pause_store=PauseStore(store), metrics=metrics, alarms=alarms, clock=clock
    )
    gate = Backlog(monitor=watch, policy=replace(SLOPE, limit=2, slow_from=2), alarms=alarms)
    await watch.refresh()
    await gate.admit()
    await gate.admit()
    with pytest.raises(TemporaryError):
        await gate.admit()
    await watch.refresh()  # the store knows of none: they were taken on
    await gate.admit()


async def test_what_comes_in_while_we_look_stays_counted(
    store: RequestStore, clock: ManualClock
) -> None:
    """Nobody knows whether the counts of this look have it, so it counts until the next one."""
    metrics = Metrics()
    watch = StoreMonitor(
        store=store,
        pause_store=PauseStore(store),
        metrics=metrics,
        alarms=Alarms(metrics),
        clock=clock,
    )
    watch.admitted()
    look = asyncio.ensure_future(watch.refresh())
    await asyncio.sleep(0)  # it has asked the store
    watch.admitted()
    await look
    assert watch.waiting == 1
    await watch.refresh()
    assert watch.waiting == 0


async def test_a_long_backlog_holds_an_answer_back(store: RequestStore, clock: ManualClock) -> None:
    metrics = Metrics()
    alarms = Alarms(metrics)
    watch = StoreMonitor(
        store=store, pause_store=PauseStore(store), metrics=metrics, alarms=alarms, clock=clock
    )
    gate = Backlog(
        monitor=watch,
        policy=BackpressurePolicy(limit=4, slow_from=0, slowest=60_000_000),
        alarms=alarms,
    )
    watch._update({State.RECEIVED: 1, State.OPENING: 1, State.PENDING: 99}, None, {})
    held = asyncio.ensure_future(gate.admit())
    await asyncio.sleep(0)  # it runs up to where it waits
    assert not held.done()
    held.cancel()
