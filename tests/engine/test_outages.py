"""An outage, a rate limit, maintenance: few calls, no attempts used up, and all goes on after."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from proxy.app.assembly import assemble
from proxy.cli import main
from proxy.domain.models import State
from proxy.engine import pauses
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import HookCall
from proxy.store.pauses import Cause, Pause, PauseStore
from tests.support.rig import OPERATOR_KEY, Rig, get_json, post_json
from tests.support.waiting import wait_until

SECOND = 1_000
MINUTE = 60 * SECOND
MANY = 1_000


def calls_to(rig: Rig, destination: str) -> int:
    """Return how many calls were sent to a destination, whatever came of them."""
    (family,) = rig.program.metrics.call_seconds.collect()
    return int(
        sum(
            sample.value
            for sample in family.samples
            if sample.name.endswith("_count") and sample.labels["destination"] == destination
        )
    )


async def many(rig: Rig, count: int = MANY) -> list[HookCall]:
    calls: list[HookCall] = []
    for _ in range(count // 50):
        calls += await asyncio.gather(*[rig.ask() for _ in range(50)])
    return calls


async def work_until(rig: Rig, done: Callable[[], Awaitable[bool]]) -> None:
    """Let time pass until it is done; how many looks that takes depends on who finds room when."""
    for _ in range(20):
        await rig.work(after=2 * MINUTE)
        if await done():
            return
    raise AssertionError("not done twenty looks after the outage")


async def outage(rig: Rig) -> int:
    """Let the desk fail for ten minutes, and return how many calls that cost."""
    rig.desk.switch_on(Fault("*", "answer", status=503, times=None))
    for _ in range(5):
        await rig.work(after=2 * MINUTE)
    return calls_to(rig, "desk")


async def test_an_outage_costs_a_few_calls_and_no_attempts_and_all_is_done_after_it(
    rig: Rig,
) -> None:
    calls = await many(rig)
    first_wave = rig.program.settings.worker.concurrency
    assert await outage(rig) <= first_wave + 10, "what was under way, then one probe at a time"
    pause = (await rig.program.pause_store.pauses())["desk"]
    assert (bool(pause.since), pause.cause) == (True, Cause.UNREACHABLE)
    waited = [(await rig.entry(call)).record.waited for call in calls]
    assert sum(it > 0 for it in waited) <= first_wave

    async def all_opened() -> bool:
        return len(rig.tickets()) == MANY

    async def all_done() -> bool:
        return (await rig.program.store.counts())[State.DONE] == MANY

    rig.desk.faults.switch_off()
    await work_until(rig, all_opened)
    assert len(rig.tickets()) == MANY
    assert not (await rig.program.pause_store.pauses())["desk"].since
    for ticket in rig.tickets():
        rig.desk.decide(ticket["id"], "approved", by="olga")
    await rig.desk.events_sent()
    await work_until(rig, all_done)


async def test_without_the_breaker_an_outage_costs_thousands(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the test above."""
    monkeypatch.setattr(pauses, "DOWN_AFTER", 10**9)
    await many(rig, 200)
    assert await outage(rig) > 2 * 200


async def test_after_a_short_outage_work_goes_on_within_seconds(rig: Rig) -> None:
    for _ in range(20):
        await rig.ask()
    rig.desk.switch_on(Fault("*", "answer", status=503, times=None))
    await rig.work()
    assert (await rig.program.pause_store.pauses())["desk"].since
    rig.desk.faults.switch_off()
    for _ in range(20):
        await rig.work(after=SECOND)
    assert len(rig.tickets()) == 20, "the settle time of lost answers is a part of it"


async def test_one_request_that_always_fails_pauses_nothing(rig: Rig) -> None:
    call = await rig.ask()
    subject = call.correlation_id
    rig.desk.switch_on(Fault("create", "answer", status=500, times=None, subject=subject))
    for _ in range(8):
        await rig.work(after=20 * MINUTE)
    assert not (await rig.program.pause_store.pauses()).get("desk", Pause()).since
    assert (await rig.entry(call)).record.attempt > 1, "it uses its own attempts"


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "600"}, {"X-RateLimit-Reset": "600"}, {"RateLimit-Reset": "600"}]
)
async def test_a_rate_limit_pauses_for_as_long_as_it_asks(
    rig: Rig, headers: dict[str, str]
) -> None:
    rig.desk.switch_on(Fault("create", "answer", status=429, headers=headers, times=None))
    for _ in range(2):
        await rig.ask()
        await rig.work()
    later = [await rig.ask() for _ in range(20)]
    before = calls_to(rig, "desk")
    for _ in range(4):
        await rig.work(after=2 * MINUTE)
    assert calls_to(rig, "desk") == before, "nobody calls within the ten minutes"
    pause = (await rig.program.pause_store.pauses())["desk"]
    assert pause.cause is Cause.RATE_LIMITED
    assert (await readiness(rig))["status"] == "ready"
    rig.desk.faults.switch_off()

    async def all_opened() -> bool:
        return len(rig.tickets()) == len(later) + 2

    await work_until(rig, all_opened)
    assert {(await rig.entry(call)).record.attempt for call in later} == {0}


async def test_a_limit_that_one_request_meets_stops_no_other(rig: Rig) -> None:
    rig.desk.switch_on(Fault("create", "answer", status=429, retry_after="600"))
    await rig.ask()
    await rig.work()
    await rig.ask()
    await rig.work()
    assert len(rig.tickets()) == 1


async def test_a_limit_of_one_issue_pauses_nothing(rig: Rig) -> None:
    headers = {"Retry-After": "600", "RateLimit-Reason": "jira-per-issue-on-write"}
    rig.desk.switch_on(Fault("create", "answer", status=429, headers=headers))
    await rig.ask()
    await rig.work()
    await rig.ask()
    await rig.work()
    assert len(rig.tickets()) == 1


async def test_a_refusal_ends_an_outage_and_no_wrong_setting(rig: Rig) -> None:
    """Whoever refuses one request answers; that says nothing of a credential."""
    pause_store = rig.program.pause_store
    for cause, stands in ((Cause.UNREACHABLE, False), (Cause.MISCONFIGURED, True)):
        await pause_store.pause("desk", "down", probe_after=0, cause=cause)
        rig.desk.switch_on(Fault("create", "answer", status=422))
        await rig.ask()
        await rig.work(after=2 * MINUTE)
        assert bool((await pause_store.pauses())["desk"].since) is stands
        await pause_store.resume("desk")


async def readiness(rig: Rig) -> Any:
    """Return what is said of a paused destination, once the listener has looked."""
    answers: list[Any] = []

    async def looked() -> bool:
        status, ready = await get_json(f"{rig.url}/readyz", OPERATOR_KEY)
        answers.append(ready)
        return status == 200 and bool(ready["reasons"])

    await wait_until(looked)
    return answers[-1]


async def act(rig: Rig, name: str, action: str, reason: str = "upgrade") -> tuple[int, object]:
    url = f"{rig.url}/api/destinations/{name}/{action}"
    return await post_json(url, OPERATOR_KEY, {"reason": reason})


async def test_maintenance_ends_by_an_operator_alone(rig: Rig) -> None:
    status, page = await act(rig, "desk", "pause")
    assert status == 200, page
    call = await rig.ask()
    for _ in range(3):
        await rig.work(after=2 * MINUTE)
    assert calls_to(rig, "desk") == 0, "not even a probe"
    assert (await rig.entry(call)).record.attempt == 0
    await rig.program.pause_store.pause("desk", "refused", probe_after=0)
    await rig.program.pause_store.resume("desk", causes=(Cause.MISCONFIGURED, Cause.UNREACHABLE))
    assert (await rig.program.pause_store.pauses())["desk"].cause is Cause.MAINTENANCE
    status, page = await act(rig, "desk", "resume", "done")
    assert (status, page) == (200, {"destination": "desk", "paused": []})
    await rig.work(after=2 * MINUTE)
    assert len(rig.tickets()) == 1
    entries = await rig.program.streams.unsealed({}, limit=100)
    told = [orjson.loads(entry.line) for entry in entries if entry.stream == "pauses"]
    assert [(it["event"], it["by"], it["reason"]) for it in told] == [
        ("Paused", "alice", "upgrade"),
        ("Resumed", "alice", "done"),
    ]


async def test_callbacks_of_an_instance_can_be_paused(rig: Rig) -> None:
    await act(rig, "main", "pause")
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved", by="olga")
    await rig.work(after=2 * MINUTE)
    assert await rig.state(call) is State.DECIDED
    assert not rig.final(call)
    await act(rig, "main", "resume")
    await rig.work(after=2 * MINUTE)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_maintenance_is_shown_and_is_not_unready(rig: Rig) -> None:
    await act(rig, "desk", "pause")
    ready = await readiness(rig)
    assert ready["status"] == "ready"
    assert "desk is paused (maintenance)" in ready["reasons"][0]
    text = rig.program.metrics.text().decode()
    assert 'approval_proxy_paused{cause="maintenance",destination="desk"} 1.0' in text


async def test_what_is_not_there_or_not_paused_cannot_be(rig: Rig) -> None:
    status, page = await act(rig, "dsek", "pause")
    assert status == 404
    assert "is not one of desk, main" in str(page)
    status, page = await act(rig, "desk", "resume")
    assert status == 400
    url = f"{rig.url}/api/destinations/desk/pause"
    assert (await post_json(url, "ap_wrong", {"reason": "r"}))[0] == 401


async def test_the_commands_say_what_is_paused(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROVAL_PROXY_KEY", OPERATOR_KEY)
    for action, says in (("pause", "desk is paused (maintenance): upgrade"), ("resume", "nothing")):
        words = [action, "desk", "--reason", "upgrade", "--url", rig.url]
        assert await asyncio.to_thread(main, words) == 0
        assert says in capsys.readouterr().out


async def test_a_pause_ends_with_what_it_was_of(rig: Rig) -> None:
    """An operator paused a desk, brought its requests to an end, and took it out of here."""
    for name in ("formerly", "desk"):
        await rig.program.pause_store.pause(name, "moving", probe_after=0, cause=Cause.MAINTENANCE)
    async with assemble(rig.program.settings, clock=rig.clock) as again:
        pauses = await again.pause_store.pauses()
    assert {name: bool(it.since) for name, it in pauses.items()} == {
        "formerly": False,
        "desk": True,
    }


async def test_a_pause_of_an_earlier_version_is_read(rig: Rig) -> None:
    store = rig.program.store
    old = {"since": 5, "reason": "r", "probe_at": 6, "resumed_at": 0}
    await store.batcher.command("HSET", store.keys.shared("pauses"), "desk", orjson.dumps(old))
    assert (await PauseStore(store).pauses())["desk"].cause is Cause.MISCONFIGURED
    assert await rig.program.pause_store.resume("desk")


async def test_an_outage_of_witboost_costs_a_few_calls_and_every_status_arrives_once(
    rig: Rig,
) -> None:
    calls = await many(rig, 200)

    async def all_opened() -> bool:
        return len(rig.tickets()) == len(calls)

    await work_until(rig, all_opened)
    for ticket in rig.tickets():
        rig.desk.decide(ticket["id"], "approved", by="olga")
    await rig.desk.events_sent()
    rig.witboost.switch_on(Fault("*", "answer", status=503, times=None))
    for _ in range(5):
        await rig.work(after=2 * MINUTE)
    first_wave = rig.program.settings.worker.concurrency
    assert calls_to(rig, "main") <= first_wave + 10
    assert (await rig.program.pause_store.pauses())["main"].cause is Cause.UNREACHABLE
    rig.witboost.faults.switch_off()

    async def all_done() -> bool:
        return (await rig.program.store.counts())[State.DONE] == len(calls)

    await work_until(rig, all_done)
    assert [(rig.final(call) or {}).get("status") for call in calls] == ["OK"] * len(calls)
