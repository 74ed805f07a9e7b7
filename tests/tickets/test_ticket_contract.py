"""What every ticket system must do: the specification of `proxy/tickets/port.py`, run on each."""

from collections.abc import AsyncIterator
from typing import Literal

import pytest

from proxy.domain.clock import SystemClock
from proxy.domain.models import Outcome
from proxy.domain.schedule import HOUR
from proxy.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    TemporaryError,
    UnauthorizedError,
)
from proxy.tickets.port import Cancels, Comments, FetchesMany, ListsChanges, PushesEvents
from tests.support.adapter_benches import BENCHES, AdapterBench
from tests.support.declarations import approval_request

Operation = Literal["create", "find", "read"]
NOW = 1_800_000_000_000


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[AdapterBench]:
    async with BENCHES[request.param]() as bench:
        yield bench


async def test_an_opened_ticket_is_found_by_its_correlation_id_and_by_no_other(
    bench: AdapterBench,
) -> None:
    opened = await bench.system.open(approval_request("r-1"))
    await bench.system.open(approval_request("r-10"))
    assert [ticket.id for ticket in await bench.system.find("r-1")] == [opened.id]
    assert await bench.system.find("r-2") == []


async def test_several_tickets_of_one_request_are_found_oldest_first(bench: AdapterBench) -> None:
    opened = [await bench.system.open(approval_request()) for _ in range(3)]
    found = await bench.system.find("r-1")
    assert [ticket.id for ticket in found] == [ticket.id for ticket in opened]


async def test_a_new_ticket_says_how_people_find_it_and_is_pending(bench: AdapterBench) -> None:
    opened = await bench.system.open(approval_request())
    fetched = await bench.system.fetch(opened.id)
    assert (fetched.id, fetched.key) == (opened.id, opened.key)
    assert "r-1" in fetched.correlation_values
    assert fetched.url.startswith("http")
    assert fetched.outcome is Outcome.PENDING


async def test_a_create_whose_answer_was_lost_is_in_doubt_and_found_once(
    bench: AdapterBench,
) -> None:
    await bench.system.ping()
    bench.lose_answer("create")
    with pytest.raises(TemporaryError) as caught:
        await bench.system.open(approval_request())
    assert caught.value.maybe_sent
    assert bench.created() == 1  # it is never repeated behind our back
    assert len(await bench.system.find("r-1")) == 1


async def test_a_read_whose_answer_was_lost_is_repeated(bench: AdapterBench) -> None:
    opened = await bench.system.open(approval_request())
    bench.lose_answer("read")
    assert (await bench.system.fetch(opened.id)).id == opened.id


@pytest.mark.parametrize(
    ("decision", "outcome"), [("approved", Outcome.APPROVED), ("rejected", Outcome.REJECTED)]
)
async def test_a_decision_is_read_with_who_took_it_and_when(
    bench: AdapterBench, decision: str, outcome: Outcome
) -> None:
    opened = await bench.system.open(approval_request())
    bench.decide(opened.id, decision)
    decided = await bench.system.fetch(opened.id)
    assert decided.outcome is outcome
    assert decided.decided_by == "olga"
    assert decided.decided_at


async def test_an_unknown_status_has_no_outcome(bench: AdapterBench) -> None:
    opened = await bench.system.open(approval_request())
    bench.decide(opened.id, "unknown")
    read = await bench.system.fetch(opened.id)
    assert read.native_status
    assert read.outcome is None


async def test_an_unknown_ticket_is_not_found(bench: AdapterBench) -> None:
    with pytest.raises(NotFoundError):
        await bench.system.fetch(bench.unknown_ticket)


@pytest.mark.parametrize("operation", ["create", "find", "read"])
async def test_too_many_requests_say_when_to_come_back_and_that_nothing_was_done(
    bench: AdapterBench, operation: Operation
) -> None:
    bench.refuse(operation, 429, retry_after="7")
    with pytest.raises(TemporaryError) as caught:
        await call(bench, operation)
    assert caught.value.retry_after == 7_000
    assert not caught.value.maybe_sent


async def test_a_failing_server_leaves_a_create_in_doubt(bench: AdapterBench) -> None:
    bench.refuse("create", 503)
    with pytest.raises(TemporaryError) as caught:
        await bench.system.open(approval_request())
    assert caught.value.maybe_sent


@pytest.mark.parametrize("status", [302, 303, 307, 406, 408, 503])
async def test_an_answer_that_may_follow_an_effect_leaves_a_create_in_doubt(
    bench: AdapterBench, status: int
) -> None:
    bench.refuse("create", status)
    assert await in_doubt(bench)


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422, 425, 429])
async def test_other_refusals_of_a_create_prove_that_there_is_no_ticket(
    bench: AdapterBench, status: int
) -> None:
    bench.refuse("create", status)
    assert not await in_doubt(bench)


@pytest.mark.parametrize("operation", ["create", "find", "read"])
async def test_an_expired_token_is_replaced_once(bench: AdapterBench, operation: Operation) -> None:
    await bench.system.ping()
    bench.expire_token(operation)
    await call(bench, operation)
    assert bench.created() == (operation != "find")


async def test_a_token_that_stays_refused_is_a_matter_of_configuration(bench: AdapterBench) -> None:
    await bench.system.ping()
    bench.expire_token("create", times=2)
    with pytest.raises(ConfigurationError) as caught:
        await bench.system.open(approval_request())
    assert caught.value.request_specific
    assert bench.created() == 0


async def test_a_refused_client_is_a_matter_of_configuration_of_everybody(
    bench: AdapterBench,
) -> None:
    bench.refuse_client()
    with pytest.raises(ConfigurationError) as caught:
        await bench.system.ping()
    assert not caught.value.request_specific


async def test_tickets_read_together_say_what_each_says_alone(bench: AdapterBench) -> None:
    if not isinstance(bench.system, FetchesMany):
        pytest.skip("it reads no tickets together")
    opened = [await bench.system.open(approval_request(f"r-{number}")) for number in range(3)]
    bench.decide(opened[0].id, "approved")
    bench.decide(opened[1].id, "rejected")
    refs = [ticket.id for ticket in opened]
    found = await bench.system.fetch_many([*refs, bench.unknown_ticket])
    assert found == {ref: await bench.system.fetch(ref) for ref in refs}
    outcomes = [found[ref].outcome for ref in refs]
    assert outcomes == [Outcome.APPROVED, Outcome.REJECTED, Outcome.PENDING]


async def test_what_changed_is_listed_and_nothing_else(bench: AdapterBench) -> None:
    if not isinstance(bench.system, ListsChanges):
        pytest.skip("it lists no changes")
    opened = await bench.system.open(approval_request())
    now = SystemClock().now()
    changed = await bench.system.changes(now - HOUR)
    assert abs(changed[opened.id] - now) < HOUR
    assert set(changed) == {opened.id}


async def test_a_list_that_is_refused_is_not_an_empty_one(bench: AdapterBench) -> None:
    if not isinstance(bench.system, ListsChanges):
        pytest.skip("it lists no changes")
    await bench.system.ping()
    bench.refuse("find", 503)
    with pytest.raises(TemporaryError):
        await bench.system.changes(SystemClock().now() - HOUR)


async def test_an_event_names_its_ticket_if_it_is_signed_and_fresh(bench: AdapterBench) -> None:
    assert isinstance(bench.system, PushesEvents)
    opened = await bench.system.open(approval_request())
    headers, body = bench.event(opened.id, now=NOW)
    hint = bench.system.read_event(headers, body, now=NOW)
    assert opened.id in hint.refs
    assert bench.system.read_event(headers, body, now=NOW + 1_000).replay_keys == hint.replay_keys


async def test_an_event_that_is_forged_or_old_is_refused_with_the_same_words(
    bench: AdapterBench,
) -> None:
    assert isinstance(bench.system, PushesEvents)
    headers, body = bench.event("1", now=NOW)
    refusals = []
    for sent, content, now in (
        (headers, body + b" ", NOW),
        ({}, body, NOW),
        (headers, body, NOW + 86_400_000),
        (headers, body, NOW - 86_400_000),
    ):
        with pytest.raises(UnauthorizedError) as caught:
            bench.system.read_event(sent, content, now=now)
        refusals.append(str(caught.value))
    assert len(set(refusals)) == 1


async def test_a_ticket_can_be_commented_on_and_withdrawn_until_it_is_decided(
    bench: AdapterBench,
) -> None:
    assert isinstance(bench.system, Comments)
    assert isinstance(bench.system, Cancels)
    opened = await bench.system.open(approval_request())
    await bench.system.comment(opened.id, "The requester left the company.")
    await bench.system.cancel(opened.id, "no longer needed")
    assert (await bench.system.fetch(opened.id)).outcome is Outcome.CANCELLED
    with pytest.raises(ConflictError):
        await bench.system.cancel(opened.id, "again")


async def in_doubt(bench: AdapterBench) -> bool:
    """Whether a create that fails may have made a ticket."""
    try:
        await bench.system.open(approval_request())
    except (TemporaryError, PermanentError) as error:
        return error.maybe_sent
    pytest.fail("the create succeeded")


async def call(bench: AdapterBench, operation: Operation) -> None:
    """Do one of the operations that every system has."""
    match operation:
        case "create":
            await bench.system.open(approval_request())
        case "find":
            await bench.system.find("r-1")
        case "read":
            opened = await bench.system.open(approval_request())
            await bench.system.fetch(opened.id)
