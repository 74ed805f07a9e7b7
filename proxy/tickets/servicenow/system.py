"""ServiceNow system: the adapter for records of any task table, and orders of the service catalog.

ServiceNow drops the parts of a query that it does not understand and answers with the rows for the
rest (Table API, `sysparm_query`), so rows are always compared with the ids that were asked for. The
decision is the roll-up in the record; the rows of `sysapproval_approver` only say who, when and
why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn
from urllib.parse import quote

from typing_extensions import override

from proxy.domain.models import ApprovalRequest, Outcome, Ticket
from proxy.domain.timestamps import rfc3339_seconds
from proxy.errors import ConfigurationError, NotFoundError
from proxy.outbound.destination import Destination
from proxy.tickets.capabilities import Adapter, Kind, require_undecided
from proxy.tickets.declaring.context import template_context
from proxy.tickets.declaring.sanitize import digest, reference, scalar_text
from proxy.tickets.declaring.templates import tree_template
from proxy.tickets.json_api import Tree
from proxy.tickets.port import Inspection
from proxy.tickets.servicenow.client import (
    SYS_ID,
    Instance,
    harmless,
    moment_of,
    quoted,
    shaped,
    text_of,
)
from proxy.tickets.servicenow.declaration import ServiceNowDeclaration
from proxy.tickets.servicenow.orders import Orders
from proxy.tickets.servicenow.preflight import preflight_checks
from proxy.tickets.servicenow.users import user_id

LONGEST_TEXT: Final = 4_000
_DECIDED: Final = {Outcome.APPROVED: "approved", Outcome.REJECTED: "rejected"}
_PERSON: Final = tuple(f"approver.{part}" for part in ("name", "user_name", "email"))
_GROUP: Final = "group.assignment_group.name"
_APPROVAL: Final = ("sysapproval", "state", "comments", "sys_updated_on", _GROUP, *_PERSON)
MOST_FETCHED: Final = 100
"""Ids in one query: each is 32 digits, and the URL must stay shorter than 8 KB."""


class ServiceNow(Adapter):
    """A table of a ServiceNow instance under one declaration."""

    def __init__(
        self,
        *,
        name: str,
        declaration: ServiceNowDeclaration,
        http: Destination,
    ) -> None:
        super().__init__(name=name, declaration=declaration, http=http)
        self.overlap = declaration.overlap
        self.most_fetched = MOST_FETCHED
        self._declared = declaration
        self._fields = tree_template(declaration.written, f"{name}: fields", declaration.limits)
        self._instance = Instance(name=name, base_url=declaration.base_url, http=http)
        self._table = declaration.ticket_table
        self._shape = shaped(declaration.read_fields)
        self._orders = (
            Orders(declaration.order, self._instance, setting=f"{name}: order")
            if declaration.order
            else None
        )

    @override
    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first.

        Raises:
            ConfigurationError: only other records came back: the query was ignored, and ours may
                be on another page, so this does not prove that it is absent.
        """
        query = f"correlation_id={quoted(correlation_id)}^ORDERBYsys_created_on^ORDERBYnumber"
        rows = await self._instance.rows(self._table, query, self._declared.read_fields)
        ours = [row for row in rows if row.get("correlation_id") == correlation_id]
        if rows and not ours:
            self._ignored("find", len(rows))
        if not ours and self._orders:
            ids = await self._orders.find(correlation_id, self._marks(correlation_id))
            ours = [await self._row(ritm) for ritm in ids]
        # times are exact to the second, numbers count up
        tickets = [self._ticket(row) for row in ours]
        return sorted(tickets, key=lambda ticket: (ticket.created_at, len(ticket.key), ticket.key))

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the record, or order the item.

        Raises:
            TemporaryError: the ticket may exist if `maybe_sent`, as after an answer without an id.
            PermanentError: the instance refuses it, or the request does not fit the templates.
        """
        async with self._instance.bounded(self.deadline, "create"):
            names = template_context(request, harmless)
            record = {
                **self._fields(names),
                **await self._reported_by(request.requester_email),
                **self._marks(request.correlation_id),
            }
            if self._orders:
                ritm = await self._orders.submit(names, request.correlation_id, record)
                return self._ticket(ritm)
            path = f"/api/now/table/{self._table}"
            tree = await self._instance.call(
                "POST", path, record, query=self._shape, repeatable=False
            )
            return self._ticket(self._instance.result(tree, "create"))

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the record, and who decided if it is decided.

        Raises:
            NotFoundError: the instance does not show it, or not any more.
        """
        if not SYS_ID.fullmatch(ticket_id):
            ticket_id = await self._id_of(ticket_id)
        ticket = self._ticket(await self._row(ticket_id))
        if ticket.id != ticket_id:
            raise NotFoundError(
                f"{self.name}: asked for {ticket_id}, it answered with another record"
            )
        return (await self._with_approvers({ticket_id: ticket}))[ticket_id]

    async def fetch_many(self, ticket_ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Read many records, and who decided those that are decided: two queries at most."""
        ids = list(filter(SYS_ID.fullmatch, ticket_ids))
        if not ids:
            return {}
        query = f"sys_idIN{','.join(ids)}^ORDERBYsys_id"
        rows = await self._instance.rows(self._table, query, self._declared.read_fields)
        tickets = [self._ticket(row) for row in rows if row.get("sys_id") in ids]
        return await self._with_approvers({ticket.id: ticket for ticket in tickets})

    def preflight_checks(self) -> Mapping[str, Inspection]:
        """Return the checks that compare the declaration with the instance."""
        return preflight_checks(self._declared, self._instance)

    async def changes(self, since: int) -> Mapping[str, int]:
        """Return when each of our records that changed at or after `since` did so last, by id."""
        display = self._declared.correlation_display
        fields = ("sys_id", "sys_updated_on", "correlation_display")
        query = f"correlation_display={quoted(display)}"
        changed: dict[str, int] = {}
        for row in await self._instance.since(self._table, query, fields, moment=since):
            moment = moment_of(row.get("sys_updated_on"))
            if row.get("correlation_display") == display and moment is not None:
                changed[text_of(row.get("sys_id"))] = moment
        return changed

    async def comment(self, ticket_id: str, text: str) -> None:
        """Add a comment that the requester sees too."""
        await self._instance.change(self._table, ticket_id, {"comments": harmless(text)})

    def _marks(self, correlation_id: str) -> dict[str, str]:
        """Return the fields that mark a record as ours, with the id of its request."""
        display = self._declared.correlation_display
        return {"correlation_id": correlation_id, "correlation_display": display}

    async def _reported_by(self, email: str) -> dict[str, str]:
        """Return the fields that refer to the requester, if the instance has that user."""
        fields = self._declared.reporter
        user = await user_id(self._instance, email) if fields and email else ""
        return dict.fromkeys(fields, user) if user else {}

    async def _row(self, ticket_id: str) -> Tree:
        path = f"/api/now/table/{self._table}/{ticket_id}"
        return self._instance.result(
            await self._instance.call("GET", path, query=self._shape), "read"
        )

    async def _with_approvers(self, tickets: Mapping[str, Ticket]) -> Mapping[str, Ticket]:
        """Return the tickets with who decided, when and why, from their approvals."""
        states = {
            ref: _DECIDED[ticket.outcome]
            for ref, ticket in tickets.items()
            if ticket.outcome in _DECIDED
        }
        if not states:
            return tickets
        either = ",".join(sorted(set(states.values())))
        query = f"sysapprovalIN{','.join(states)}^stateIN{either}^ORDERBYDESCsys_updated_on"
        rows = await self._instance.rows("sysapproval_approver", query, _APPROVAL)
        its: dict[str, list[Tree]] = {}
        for row in rows:
            ref = row.get("sysapproval")
            if ref in states and row.get("state") == states[ref]:
                its.setdefault(ref, []).append(row)
        return {
            **tickets,
            **{ref: _approved(tickets[ref], approvals) for ref, approvals in its.items()},
        }

    async def _id_of(self, number: str) -> str:
        """Return the id of the record with this number."""
        query = f"number={quoted(number)}"
        rows = await self._instance.rows(self._table, query, ("sys_id", "number"))
        for row in rows:
            if row.get("number") == number:
                return str(row.get("sys_id"))
        raise NotFoundError(f"{self.name}: {self._table} {number} was not found")

    def _ticket(self, row: Tree) -> Ticket:
        declared, ticket_id = self._declared, text_of(row.get("sys_id"))
        if not SYS_ID.fullmatch(ticket_id):
            self._instance.unreadable("a record", "no sys_id")
        status = text_of(row.get(declared.decision_field))
        moment = moment_of(row.get("sys_created_on"))
        target = quote(f"{self._table}.do?sys_id={ticket_id}", safe="")
        return Ticket(
            id=ticket_id,
            key=reference(text_of(row.get("number"))) or ticket_id,
            url=f"{declared.base_url}/nav_to.do?uri={target}",
            native_status=status,
            correlation_values=[text_of(row.get("correlation_id"))],
            outcome=declared.outcome(status),
            fulfilment=declared.fulfilled(text_of(row.get(declared.fulfilment_field))),
            created_at=rfc3339_seconds(moment),
            key_fields=digest([row.get(field) for field in declared.key_fields]),
        )

    def _ignored(self, operation: str, strangers: int) -> NoReturn:
        raise ConfigurationError(
            f"{self.name}: {operation} returned only {strangers} other records, so the query was"
            f" ignored: let our account read the field correlation_id of {self._table}",
            request_specific=True,
        )


def _approved(ticket: Ticket, approvals: Sequence[Tree]) -> Ticket:
    """Return the ticket with who decided it, when and why; `approvals` has the newest first."""
    last = approvals[0]
    deciders = [text_of(row.get(person)) for row in approvals for person in _PERSON]
    groups = [text_of(row.get(_GROUP)) for row in approvals]
    named = (text_of(last.get(person)) for person in _PERSON)
    moment = moment_of(last.get("sys_updated_on"))
    return replace(
        ticket,
        decided_by=next(filter(None, named), ""),
        deciders=tuple(dict.fromkeys(filter(None, deciders))),
        decider_groups=tuple(dict.fromkeys(filter(None, groups))),
        comment=scalar_text(last.get("comments"), LONGEST_TEXT).strip(),
        decided_at=rfc3339_seconds(moment),
    )


class _Cancels(ServiceNow):
    async def cancel(self, ticket_id: str, reason: str) -> None:
        """Withdraw the record as declared; raises ConflictError if it is decided already."""
        require_undecided(await self.fetch(ticket_id), system=self.name)
        await self._instance.change(
            self._table, ticket_id, {**(self._declared.cancel or {}), "comments": harmless(reason)}
        )


def capabilities(declaration: ServiceNowDeclaration) -> Mapping[type, Any]:
    """Return every optional capability, and whether it is declared."""
    return {_Cancels: declaration.cancel}


KIND: Final = Kind(ServiceNowDeclaration, ServiceNow, capabilities)
