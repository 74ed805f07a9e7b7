"""Reads of tickets that travel together, where a ticket system can read many in one call.

Requests that are due at the same time ask for their tickets at the same time. What is asked for
while a call is under way leaves together in the next one, so a system without a list of changes is
asked once per batch and not once per ticket. Callers see an ordinary await.
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
    """Reads tickets; one batch at a time for each system under one declaration."""

    def __init__(self) -> None:
        self._batches: WeakKeyDictionary[TicketSystem, _Batches | None] = WeakKeyDictionary()

    async def fetch(self, system: TicketSystem, ticket_id: str) -> Ticket:
        """Read one ticket.

        Raises:
            NotFound: the system does not show it, asked for it alone: its absence from a batch
                proves nothing.
        """
        if system not in self._batches:
            # asked once: whether an object keeps a protocol costs as much as a look into the store
            self._batches[system] = _Batches() if isinstance(system, FetchesMany) else None
        batches = self._batches[system]
        ticket = await batches.ask(cast("_System", system), ticket_id) if batches else None
        return await system.fetch(ticket_id) if ticket is None else ticket


class _Batches:
    """What waits for the next call to one system, and the task that makes the calls."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, asyncio.Future[_Answers]]] = []
        self._sender: asyncio.Task[None] | None = None
        self._size = 0

    async def ask(self, system: _System, ticket_id: str) -> Ticket | None:
        """Return the ticket, or None where it must be asked for alone."""
        future: asyncio.Future[_Answers] = asyncio.get_running_loop().create_future()
        self._waiting.append((ticket_id, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(system))
        found = await future
        if isinstance(found, Exception):
            # a copy: one error that many tasks raise collects the traces of all of them
            raise copy.copy(found) from found
        return found.get(ticket_id)

    async def _send_all(self, system: _System) -> None:
        while self._waiting:
            most = self._size or system.most_fetched
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            found = await _answers(system, list(dict.fromkeys(ref for ref, _ in batch)))
            # too slow, or too long an answer: what fails together may succeed in smaller parts
            failed = isinstance(found, Exception) and len(batch) > 1
            self._size = len(batch) // 2 if failed else min(2 * most, system.most_fetched)
            for _, future in batch:
                if not future.done():  # whoever asked may be gone
                    future.set_result(found)


async def _answers(system: _System, refs: Sequence[str]) -> _Answers:
    """Return the tickets of one call, or the error that every one of them has met."""
    try:
        if len(refs) == 1:
            return {refs[0]: await system.fetch(refs[0])}
        return await system.fetch_many(refs)
    except Exception as error:  # noqa: BLE001 - handed to those who wait, else they wait for ever
        refused = isinstance(error, PermanentError) or (
            isinstance(error, ConfigurationError) and error.request_specific
        )
        # a batch may be refused because of one of its tickets
        return {} if refused and len(refs) > 1 else error
