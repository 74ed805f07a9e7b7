"""Health pages: what they say while all is well, while something is paused, and without a store."""

import asyncio
import sys

import pytest

from proxy.domain.models import State
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.store.pauses import PauseStore
from proxy.store.requests import RequestStore
from proxy.web.health.store_monitor import StoreMonitor
from tests.support.manual_clock import ManualClock
from tests.web.conftest import OPERATOR_KEY, WITBOOST_KEY, Collected, Site, Starts, Workers


async def test_all_is_well(site: Site) -> None:
    assert (await site.call("GET", "/livez")).json == {"status": "alive"}
    ready = await site.call("GET", "/readyz")
    assert (ready.status, ready.json) == (200, {"status": "ready", "reasons": []})


async def test_a_paused_destination_is_named_in_plain_words_and_calls_are_still_taken(
    store: RequestStore, start: Starts
) -> None:
    await PauseStore(store).pause(
        "desk", "the token endpoint refused our secret", probe_after=1_000
    )
    site = await start()
    ready = await site.call("GET", "/readyz")
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    assert ready.json["reasons"] == [
        (
            "desk is paused (misconfigured) since 2026-01-01T00:00:00.000Z:"
            " the token endpoint refused our secret"
        )
    ]
    assert (await site.submit()).status == 202
    (paused,) = (await site.call("GET", "/api/status", key=OPERATOR_KEY)).json["paused"]
    assert paused["destination"] == "desk"
    await PauseStore(store).resume("desk")
    assert (await (await start()).call("GET", "/readyz")).json["status"] == "ready"


async def test_who_may_see_what_is_paused_does_not_see_a_request(
    store: RequestStore, start: Starts
) -> None:
    """Where witboost takes a status is for nobody without a key; operators read the whole."""
    said = (
        "main answered 503 to PUT https://w.example.com:8443{} (try a/b later): see https://x.org{}"
    )
    reason = said.format("/api/actionHandler/471:1", "/status")
    await PauseStore(store).pause("main", reason, probe_after=1_000)
    site = await start()
    (shown,) = (await site.call("GET", "/readyz")).json["reasons"]
    assert shown.endswith(said.format("", ""))
    (paused,) = (await site.call("GET", "/api/status", key=OPERATOR_KEY)).json["paused"]
    assert paused["reason"] == reason


async def test_metrics_count_answers_by_route_and_code_with_few_labels(site: Site) -> None:
    await site.submit()
    await site.submit(key="wrong")
    await site.call("GET", "/approval-requests/one", key=WITBOOST_KEY)
    await site.call("GET", "/approval-requests/two", key=WITBOOST_KEY)
    await site.call("GET", "/no/such/path")
    answer = await site.call("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    name = "approval_proxy_answers_total"
    assert name + '{code="202",route="/approval-requests"} 1.0' in text
    assert name + '{code="401",route="/approval-requests"} 1.0' in text
    assert name + '{code="404",route="/approval-requests/{correlationId}"} 2.0' in text
    assert name + '{code="404",route="none"} 1.0' in text
    assert 'approval_proxy_answer_seconds_bucket{le="0.005",route="/approval-requests"}' in text
    assert 'approval_proxy_alarms_total{alarm="request_dead"} 0.0' in text
    assert "_created" not in text


async def test_metrics_of_worker_processes_are_told_apart(start: Starts) -> None:
    """Each family is there once; what stands in the store, the process that serves says for all."""
    worker = Metrics()
    Alarms(worker)
    worker.step_seconds.labels("received").observe(0.02)
    worker.due_lag.set(7)
    site = await start(workers=Workers(texts={"worker-1": worker.text(), "worker-2": b""}))
    await site.submit()
    text = (await site.call("GET", "/metrics")).body.decode()
    steps = 'approval_proxy_step_seconds_count{process="worker-1",state="received"} 1.0'
    alarms = 'approval_proxy_alarms_total{alarm="request_dead",process="%s"} 0.0'
    answers = 'approval_proxy_answers_total{code="202",process="main",route="/approval-requests"}'
    for line in (steps, alarms % "main", alarms % "worker-1", answers):
        assert line in text
    assert text.count("# TYPE approval_proxy_alarms_total counter") == 1
    assert text.count("approval_proxy_due_lag_seconds{") == 1
    assert 'approval_proxy_due_lag_seconds{process="worker-1"}' not in text
    assert 'process_cpu_seconds_total{process="main"}' in text or sys.platform != "linux"
    assert "process=" not in (await (await start()).call("GET", "/metrics")).body.decode()


async def test_a_worker_process_that_is_down_is_named_and_calls_are_still_taken(
    start: Starts,
) -> None:
    how = "worker-1 ended (SIGKILL), and is started again"
    site = await start(workers=Workers(down={"worker-1": how}))
    ready = await site.call("GET", "/readyz")
    assert (ready.status, ready.json) == (200, {"status": "degraded", "reasons": [how]})
    assert (await site.submit()).status == 202
    status = await site.call("GET", "/api/status", key=OPERATOR_KEY)
    assert status.json["down"] == [{"worker": "worker-1", "reason": how}]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def _watch(store: RequestStore, metrics: Metrics, clock: ManualClock) -> StoreMonitor:
    pause_store = PauseStore(store)
    return StoreMonitor(
        store=store, pause_store=pause_store, metrics=metrics, alarms=Alarms(metrics), clock=clock
    )


async def test_a_look_sets_the_gauges(
    site: Site, clock: ManualClock, store: RequestStore, metrics: Metrics
) -> None:
    await site.submit()
    clock.advance(2_500)
    watch = _watch(store, metrics, clock)
    await watch.refresh()
    assert watch.counts[State.RECEIVED] == watch.waiting == 1
    value = metrics.registry.get_sample_value
    assert value("approval_proxy_requests", {"state": "received"}) == 1
    assert value("approval_proxy_due_lag_seconds") == 2.5


async def test_a_store_that_stops_answering_is_one_alarm(
    unreachable: RequestStore, clock: ManualClock, metrics: Metrics, logged: Collected
) -> None:
    watch = _watch(unreachable, metrics, clock)
    for _ in range(3):
        await watch.refresh()
    assert watch.stale
    alarms = [line for line in logged.lines if line.get("alarm") == "store_unreachable"]
    assert len(alarms) == 1


async def test_an_old_look_says_nothing(
    store: RequestStore, clock: ManualClock, metrics: Metrics
) -> None:
    watch = _watch(store, metrics, clock)
    seen = [watch.stale]  # nobody has looked yet
    await watch.refresh()
    seen.append(watch.stale)
    clock.advance(5_001)
    seen.append(watch.stale)
    assert seen == [True, False, True]


async def test_looking_begins_with_the_application_and_ends_with_it(
    store: RequestStore, clock: ManualClock, metrics: Metrics
) -> None:
    before = asyncio.all_tasks()
    watch = _watch(store, metrics, clock)
    running = watch.running(None)
    await anext(running)
    assert watch.refreshes == 1
    assert len(asyncio.all_tasks() - before) >= 1
    assert await anext(running, "ended") == "ended"
    await store.batcher.close()
    assert asyncio.all_tasks() == before
