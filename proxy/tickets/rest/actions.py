"""Calls that change tickets behind a `rest` declaration, and those that belong to a new ticket."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.errors import PermanentError, TemporaryError
from proxy.tickets.capabilities import require_undecided
from proxy.tickets.declaring.calls import ChangeCall, FollowUp
from proxy.tickets.declaring.expressions import compile_path
from proxy.tickets.rest.client import Api
from proxy.tickets.rest.tickets import FetchedTicket, Tickets

_TRIES: Final = 3
_CHANGED_MEANWHILE: Final = frozenset({409, 412})


class TicketActions:
    """What is changed of tickets under one declaration."""

    def __init__(self, *, name: str, api: Api, tickets: Tickets) -> None:
        self._name = name
        self._api = api
        self._tickets = tickets

    async def change(
        self,
        operation: str,
        declared: ChangeCall,
        ticket: Mapping[str, Any],
        *,
        only_open: bool = False,
        **names: Any,
    ) -> None:
        """Change a ticket; where the declaration says so, only as it was just read.

        Raises:
            Conflict: the system says that it is settled, or only an open one was to be changed.
        """
        if not (declared.if_match or declared.version):
            await self._api.send(operation, repeatable=False, ticket=ticket, **names)
            return
        refused: PermanentError | None = None
        for _ in range(_TRIES):
            shown = await self._tickets.read(str(ticket["id"]))
            if only_open:
                require_undecided(shown.ticket, system=self._name)
            try:
                await self._change_as(shown, operation, declared, ticket, names)
            except PermanentError as error:
                if error.status not in _CHANGED_MEANWHILE:
                    raise
                refused = error
            else:
                return
        raise TemporaryError(
            f"{self._name}: others change the ticket whenever we do: {refused}", maybe_sent=False
        )

    async def follow_up(
        self, shown: FetchedTicket, calls: tuple[FollowUp, ...], correlation_id: str, *, fresh: bool
    ) -> None:
        """Make the calls that belong to a new ticket; where it is not fresh, those not made yet."""
        fields = shown.tree if isinstance(shown.tree, Mapping) else {}
        ticket = {"id": shown.ticket.id, "key": shown.ticket.key, "fields": fields}
        for at, call in enumerate(calls):
            names: dict[str, Any] = {"ticket": ticket, "correlation_id": correlation_id}
            operation = f"follow_ups.{at}"
            if call.unless is not None and not fresh:
                answer = await self._api.send(f"{operation}.unless", **names)
                if compile_path(call.unless.found)(answer.json()):
                    continue
            await self.change(operation, call, ticket, correlation_id=correlation_id)

    async def _change_as(
        self,
        shown: FetchedTicket,
        operation: str,
        declared: ChangeCall,
        ticket: Mapping[str, Any],
        names: Mapping[str, Any],
    ) -> None:
        version = compile_path(declared.version)(shown.tree) if declared.version else None
        if declared.version and version is None:
            self._api.unreadable(shown.answer, "a ticket without a version", f"{operation}.version")
        call = self._api.write(operation, ticket={**ticket, "version": version}, **names)
        if declared.if_match:
            tag = shown.answer.headers.get("ETag", "")
            if not tag:
                self._api.unreadable(shown.answer, "no ETag", f"{operation}.if_match")
            call = replace(call, headers={**call.headers, "If-Match": tag})
        await self._api.deliver(operation, call, repeatable=False)
