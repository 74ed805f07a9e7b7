"""Batched reads: many tickets in one call, where the ticket system offers that.

Requests that are due at the same time read their tickets at the same time. The reads that arrive
while a call is under way are sent together in the next one. A system that cannot list changes is
therefore called once per batch and not once per ticket. Callers see an ordinary await.
"""

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, cast
from weakref import WeakKeyDictionary

from proxy.domain.models import Ticket
from proxy.errors import ConfigurationError, PermanentError
from proxy.tickets.port import FetchesMany, TicketSystem

_Answers: TypeAlias = Mapping[str, Ticket] | Exception


class _System(TicketSystem, FetchesMany, Protocol):
    """A ticket system that reads one ticket, or many."""


class TicketBatchLoader:
    """Reads tickets, in one batch at a time for each system under one declaration."""

    def __init__(self) -> None:
        self._batches: WeakKeyDictionary[TicketSystem, _Batches | None] = WeakKeyDictionary()

    async def fetch(self, system: TicketSystem, ticket_id: str) -> Ticket:
        """Read one ticket.

        Raises:
            NotFoundError: a read of this ticket alone did not find it; its absence from a batch
                proves nothing.
        """
        if system not in self._batches:
            # once per system: the check of a protocol costs as much as a read of the store
            self._batches[system] = _Batches() if isinstance(system, FetchesMany) else None
        batches = self._batches[system]
        ticket = await batches.ask(cast("_System", system), ticket_id) if batches else None
        return await system.fetch(ticket_id) if ticket is None else ticket


class _Batches:
    """The reads that wait for the next call to one system, and the task that makes the calls."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, asyncio.Future[_Answers]]] = []
        self._sender: asyncio.Task[None] | None = None
        self._size = 0

    async def ask(self, system: _System, ticket_id: str) -> Ticket | None:
        """Return the ticket, or None if it must be read alone."""
        future: asyncio.Future[_Answers] = asyncio.get_running_loop().create_future()
        self._waiting.append((ticket_id, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(system))
        answer = await future
        if isinstance(answer, Exception):
            # a copy, because one error raised by many tasks collects the traces of all of them
            raise copy.copy(answer) from answer
        return answer.get(ticket_id)

    async def _send_all(self, system: _System) -> None:
        while self._waiting:
            most = self._size or system.most_fetched
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            answer = await _answers(system, list(dict.fromkeys(ref for ref, _ in batch)))
            # the call may be too slow or its answer too long: a smaller batch may succeed
            failed = isinstance(answer, Exception) and len(batch) > 1
            self._size = len(batch) // 2 if failed else min(2 * most, system.most_fetched)
            for _, future in batch:
                if not future.done():  # the caller may have been cancelled
                    future.set_result(answer)


async def _answers(system: _System, refs: Sequence[str]) -> _Answers:
    """Return the tickets of one call, or the error that all of them met."""
    try:
        if len(refs) == 1:
            return {refs[0]: await system.fetch(refs[0])}
        return await system.fetch_many(refs)
    except Exception as error:  # noqa: BLE001 - given to the callers, who would wait for ever
        refused = isinstance(error, PermanentError) or (
            isinstance(error, ConfigurationError) and error.request_specific
        )
        # one ticket may be the reason why the whole batch was refused
        return {} if refused and len(refs) > 1 else error
