"""Each fault strikes what it names, as often as it says, and nothing else."""

import asyncio

import aiohttp
import pytest

from proxy.simulators.desk.server import Desk
from proxy.simulators.faults import HTTP, Fault, Faults
from tests.support.demo_program import Program, TestClock


async def test_a_hanging_create_happens_when_it_is_released(desk: Desk, program: Program) -> None:
    switch = desk.switch_on(Fault("create", "hang"))
    call = asyncio.create_task(program.create())
    await switch.triggered()
    assert desk.tickets.all() == []
    switch.off()
    assert (await call)[0] == 201


async def test_what_hangs_is_released_by_switching_all_off(desk: Desk, program: Program) -> None:
    switch = desk.switch_on(Fault("create", "hang", after_effect=True))
    call = asyncio.create_task(program.create())
    await switch.triggered()
    assert len(desk.tickets.all()) == 1
    assert not call.done()
    assert not desk.faults
    desk.faults.switch_off("create")
    assert (await call)[0] == 201


async def test_slow_is_late_but_right(desk: Desk, program: Program) -> None:
    desk.switch_on(Fault("create", "slow", seconds=0.01))
    assert (await program.create())[0] == 201
    desk.switch_on(Fault("read", "slow", seconds=60))
    with pytest.raises(TimeoutError):
        await program.call("GET", "/api/tickets/1001", within=0.05)


async def test_an_answer_of_a_fault_has_its_status_and_pause(desk: Desk, program: Program) -> None:
    desk.switch_on(Fault("create", "answer", status=429, retry_after="7"))
    desk.switch_on(Fault("create", "answer", status=503, times=2, body={"down": True}))
    async with program.http.post(f"{desk.url}/api/tickets") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert await program.create() == (503, {"down": True})
    assert (await program.create())[0] == 503
    assert (await program.create())[0] == 201
    assert len(desk.tickets.all()) == 1


async def test_a_reset_before_the_effect_leaves_nothing(desk: Desk, program: Program) -> None:
    desk.switch_on(Fault("create", "reset"))
    with pytest.raises(aiohttp.ClientOSError):
        await program.create()
    assert desk.tickets.all() == []
    assert (await program.create())[0] == 201


async def test_a_reset_after_the_effect_leaves_a_ticket(desk: Desk, program: Program) -> None:
    desk.switch_on(Fault("create", "reset", after_effect=True))
    desk.authorization.revoke_all()
    assert (await program.create())[0] == 401
    await program.fetch_token()
    with pytest.raises(aiohttp.ClientOSError):
        await program.create()
    assert len(desk.tickets.all()) == 1
    assert await program.find() == ["1001"]


async def test_a_token_that_expires_is_refused_and_the_next_is_good(
    desk: Desk, program: Program
) -> None:
    desk.switch_on(Fault("*", "expire"))
    assert (await program.create())[0] == 401
    assert (await program.create())[0] == 401
    await program.fetch_token()
    assert (await program.create())[0] == 201


async def test_a_lagging_index_hides_new_tickets_for_some_finds(
    desk: Desk, program: Program, clock: TestClock
) -> None:
    await program.create("old")
    clock.milliseconds += 1
    desk.switch_on(Fault("find", "lag", times=2))
    await program.create("new")
    assert await program.find("new") == []
    assert await program.find("old") == ["1001"]
    assert await program.find("new") == ["1002"]


async def test_a_lagging_index_shows_tickets_of_some_age(
    desk: Desk, program: Program, clock: TestClock
) -> None:
    switch = desk.switch_on(Fault("find", "lag", times=None, seconds=5))
    await program.create("c-1")
    clock.milliseconds += 5000
    await program.create("c-2")
    assert await program.find("c-1") == []
    clock.milliseconds += 1
    assert await program.find("c-1") == ["1001"]
    assert await program.find("c-2") == []
    assert (await program.read("1002"))[0] == 200
    switch.off()
    assert await program.find("c-2") == ["1002"]


async def test_stale_reads_show_the_status_before(desk: Desk, program: Program) -> None:
    await program.create()
    desk.decide("1001", "approved")
    desk.switch_on(Fault("read", "stale", times=2))
    statuses = [(await program.read())[1]["ticket"]["status"] for _ in range(3)]
    assert statuses == ["new", "new", "approved"]


async def test_a_subject_limits_a_fault_to_one_ticket(desk: Desk, program: Program) -> None:
    await program.create("c-1")
    await program.create("c-2")
    desk.switch_on(Fault("read", "answer", status=404, subject="1001", times=None))
    desk.switch_on(Fault("*", "answer", status=500, subject="c-3", times=None))
    assert [(await program.read(name))[0] for name in ("1001", "1002", "1001")] == [404, 200, 404]
    assert (await program.create("c-3"))[0] == 500
    assert (await program.create("c-4"))[0] == 201


async def test_the_token_endpoint_fails_as_told(desk: Desk, program: Program) -> None:
    desk.switch_on(Fault("token", "answer", status=401, body={"error": "invalid_client"}))
    async with program.http.post(f"{desk.url}/oauth/token") as answer:
        assert (answer.status, await answer.json()) == (401, {"error": "invalid_client"})
    await program.fetch_token()


async def test_faults_are_switched_over_http(desk: Desk, program: Program) -> None:
    fault = {"operation": "create", "kind": "answer", "status": 503, "times": None}
    assert (await program.call("POST", "/desk/faults", fault))[0] == 204
    assert (await program.create())[0] == 503
    assert (await program.call("DELETE", "/desk/faults?operation=read"))[0] == 204
    assert (await program.create())[0] == 503
    assert (await program.call("DELETE", "/desk/faults"))[0] == 204
    assert (await program.create())[0] == 201
    assert len(desk.journal.of("fault", operation="create", fault="answer")) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"operation": "create", "kind": "burn"},
        {"operation": "create", "kind": "lag"},
        {"operation": "craete", "kind": "reset"},
        {"operation": "create", "kind": "reset", "time": 3},
        {"operation": "create", "kind": "slow"},
        {"operation": "find", "kind": "lag", "after_effect": True},
        {"operation": "create", "kind": "reset", "times": 0},
    ],
)
async def test_a_fault_that_could_never_strike_is_refused(
    desk: Desk, program: Program, fault: dict[str, object]
) -> None:
    status, body = await program.call("POST", "/desk/faults", fault)
    assert status == 400
    assert body["error"]["message"]
    assert not desk.faults


async def test_an_outage_refuses_connections_and_loses_nothing(
    desk: Desk, program: Program
) -> None:
    await program.create()
    await desk.down()
    with pytest.raises(aiohttp.ClientConnectionError):
        await program.create("c-2")
    await desk.up()
    assert await program.find() == ["1001"]


async def test_an_outage_ends_by_itself(desk: Desk, program: Program) -> None:
    assert (await program.call("POST", "/desk/outage", {"seconds": 0.01}))[0] == 202
    await desk.journal.next_of("up")
    assert desk.journal.of("down")
    assert (await program.create())[0] == 201
    assert (await program.call("POST", "/desk/outage", {}))[0] == 400


def strikes(seed: int) -> list[bool]:
    faults = Faults({"create": HTTP}, seed=seed)
    faults.switch_on(Fault("create", "reset", times=None, probability=0.3))
    return [any(faults.trigger("create", HTTP)) for _ in range(1000)]


def test_a_probability_is_kept_and_repeats_with_its_seed() -> None:
    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 230 < sum(strikes(1)) < 370


def test_one_call_uses_up_one_ending_only() -> None:
    faults = Faults({"create": HTTP})
    faults.switch_on(Fault("create", "reset"))
    faults.switch_on(Fault("create", "answer", status=503))
    first = [next(faults.trigger("create", HTTP)).fault.kind for _ in range(2)]
    assert first == ["reset", "answer"]
    assert not faults
