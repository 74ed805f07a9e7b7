"""REST actions: the calls that change a ticket, and the follow-ups of a new one."""

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
    """The calls of one declaration that change tickets."""

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
        """Change a ticket; with `if_match` or `version` only if it is still as it was just read.

        Raises:
            ConflictError: the system refuses, or `only_open` is set and the ticket is decided.
        """
        if not (declared.if_match or declared.version):
            await self._api.send(operation, repeatable=False, ticket=ticket, **names)
            return
        refused: PermanentError | None = None
        for _ in range(_TRIES):
            fetched = await self._tickets.read(str(ticket["id"]))
            if only_open:
                require_undecided(fetched.ticket, system=self._name)
            try:
                await self._change_as(fetched, operation, declared, ticket, names)
            except PermanentError as error:
                if error.status not in _CHANGED_MEANWHILE:
                    raise
                refused = error
            else:
                return
        raise TemporaryError(
            f"{self._name}: the ticket was changed by others before each of {_TRIES} attempts:"
            f" {refused}",
            maybe_sent=False,
        )

    async def follow_up(
        self,
        fetched: FetchedTicket,
        calls: tuple[FollowUp, ...],
        correlation_id: str,
        *,
        fresh: bool,
    ) -> None:
        """Make the follow-ups of a new ticket; if it is not `fresh`, only those not made yet."""
        fields = fetched.tree if isinstance(fetched.tree, Mapping) else {}
        ticket = {"id": fetched.ticket.id, "key": fetched.ticket.key, "fields": fields}
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
        fetched: FetchedTicket,
        operation: str,
        declared: ChangeCall,
        ticket: Mapping[str, Any],
        names: Mapping[str, Any],
    ) -> None:
        version = compile_path(declared.version)(fetched.tree) if declared.version else None
        if declared.version and version is None:
            self._api.unreadable(
                fetched.answer, "a ticket without a version", f"{operation}.version"
            )
        call = self._api.write(operation, ticket={**ticket, "version": version}, **names)
        if declared.if_match:
            tag = fetched.answer.headers.get("ETag", "")
            if not tag:
                self._api.unreadable(fetched.answer, "no ETag", f"{operation}.if_match")
            call = replace(call, headers={**call.headers, "If-Match": tag})
        await self._api.deliver(operation, call, repeatable=False)
