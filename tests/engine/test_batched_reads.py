"""Reads that travel together: one call for many tickets, and what an answer does not prove."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from typing_extensions import override

from proxy.domain.models import Outcome, Ticket
from proxy.engine.batched_reads import TicketBatchLoader
from proxy.errors import (
    ConfigurationError,
    NotFoundError,
    PermanentError,
    ProxyError,
    TemporaryError,
)
from proxy.tickets.no_tickets import NoTickets


class Desk(NoTickets):
    """A system of which batches and reads are counted; `broken` is what the next batch meets."""

    most_fetched = 10

    def __init__(self) -> None:
        super().__init__("desk")
        self.tickets = {str(number): ticket(str(number)) for number in range(30)}
        self.batches: list[Sequence[str]] = []
        self.reads: list[str] = []
        self.hidden: set[str] = set()
        self.broken: Exception | None = None
        self.asked = asyncio.Event()

    @override
    async def fetch(self, ticket_id: str) -> Ticket:
        self.reads.append(ticket_id)
        self.asked.set()
        await asyncio.sleep(0)
        if ticket_id not in self.tickets:
            raise NotFoundError(f"no {ticket_id}")
        return self.tickets[ticket_id]

    async def fetch_many(self, ticket_ids: Sequence[str]) -> Mapping[str, Ticket]:
        self.batches.append(list(ticket_ids))
        self.asked.set()
        await asyncio.sleep(0)
        if self.broken:
            raise self.broken
        found = {ref: it for ref, it in self.tickets.items() if ref in ticket_ids}
        return {ref: it for ref, it in found.items() if ref not in self.hidden}


def ticket(ref: str) -> Ticket:
    return Ticket(id=ref, key=ref, url="", native_status="new", outcome=Outcome.PENDING)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def read(desk: Desk, refs: Sequence[str]) -> list[Any]:
    reads = TicketBatchLoader()
    return await asyncio.gather(*(reads.fetch(desk, ref) for ref in refs), return_exceptions=True)


async def test_what_is_due_together_is_read_in_batches_no_longer_than_the_system_takes(
    desk: Desk,
) -> None:
    refs = list(desk.tickets)[:25]
    assert [it.id for it in await read(desk, refs)] == refs
    assert [len(batch) for batch in desk.batches] == [10, 10, 5]
    assert desk.reads == []


async def test_what_is_asked_for_meanwhile_leaves_in_the_next_batch(desk: Desk) -> None:
    reads = TicketBatchLoader()
    first = asyncio.create_task(reads.fetch(desk, "1"))
    await desk.asked.wait()
    await asyncio.gather(first, *(reads.fetch(desk, ref) for ref in "234"))
    assert (desk.reads, desk.batches) == (["1"], [["2", "3", "4"]])


async def test_a_ticket_of_two_requests_is_named_once(desk: Desk) -> None:
    assert [it.id for it in await read(desk, ["1", "2", "1"])] == ["1", "2", "1"]
    assert desk.batches == [["1", "2"]]


async def test_absence_from_a_batch_proves_nothing(desk: Desk) -> None:
    desk.hidden.add("2")
    first, hidden, gone = await read(desk, ["1", "2", "no such ticket"])
    assert (first.id, hidden.id) == ("1", "2")
    assert isinstance(gone, NotFoundError)
    assert desk.reads == ["2", "no such ticket"]


@pytest.mark.parametrize(
    "error",
    [TemporaryError("slow", retry_after=7, maybe_sent=False), ConfigurationError("no token")],
)
async def test_an_error_of_the_batch_is_that_of_each(desk: Desk, error: ProxyError) -> None:
    desk.broken = error
    found = await read(desk, ["1", "2"])
    assert [(type(it), str(it)) for it in found] == [(type(error), str(error))] * 2
    assert [it.__dict__ for it in found] == [error.__dict__] * 2
    assert found[0] is not found[1]
    assert desk.reads == []


@pytest.mark.parametrize(
    "refusal", [PermanentError("no"), ConfigurationError("403", request_specific=True)]
)
async def test_a_refused_batch_is_read_one_by_one(desk: Desk, refusal: ProxyError) -> None:
    """One ticket of many may be the reason: it must not take the others with it."""
    desk.broken = refusal
    assert [it.id for it in await read(desk, ["1", "2"])] == ["1", "2"]
    assert desk.reads == ["1", "2"]


async def test_what_fails_together_is_tried_in_smaller_parts(desk: Desk) -> None:
    """An answer too long, or too slow: the next batch is half as large, and grows again."""
    reads, refs = TicketBatchLoader(), list(desk.tickets)[:10]
    desk.broken = TemporaryError("too long an answer")
    for _ in range(2):
        await asyncio.gather(*(reads.fetch(desk, ref) for ref in refs), return_exceptions=True)
    assert [len(batch) for batch in desk.batches] == [10, 5, 2, 2]
    desk.broken = None
    for _ in range(4):
        await asyncio.gather(*(reads.fetch(desk, ref) for ref in refs))
    assert len(desk.batches[-1]) == 10


async def test_nobody_waits_for_ever_when_an_adapter_is_wrong(desk: Desk) -> None:
    desk.broken = KeyError("a mistake")
    assert [type(it) for it in await read(desk, ["1", "2"])] == [KeyError, KeyError]


async def test_a_reader_that_is_gone_takes_nothing_from_the_others(desk: Desk) -> None:
    reads = TicketBatchLoader()
    tasks = [asyncio.create_task(reads.fetch(desk, ref)) for ref in "123"]
    await desk.asked.wait()
    tasks[0].cancel()
    assert [it.id for it in await asyncio.gather(*tasks[1:])] == ["2", "3"]


async def test_a_system_without_batches_is_read_as_ever() -> None:
    class Plain(NoTickets):
        @override
        async def fetch(self, ticket_id: str) -> Ticket:
            return ticket(ticket_id)

    assert (await TicketBatchLoader().fetch(Plain("plain"), "7")).id == "7"
