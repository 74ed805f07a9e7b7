"""A ticket desk behind OAuth2: an API for programs, pages for the person who decides, events.

Its native statuses are new, in_review, approved, rejected, cancelled and done (access was
granted); a person may set any other status, because real desks add statuses over time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from itertools import cycle
from typing import Any, Unpack

from aiohttp import web
from typing_extensions import override

from proxy.simulators.desk.tickets import DECISIONS, Ticket, Tickets, validation_error
from proxy.simulators.faults import Kind
from proxy.simulators.server import Handler, answer, json_object
from proxy.simulators.ticket_system import API, TicketSimulator, TicketSystemOptions
from proxy.simulators.ticket_system import FAULTS as SHARED

TicketHandler = Callable[[web.Request, Ticket], Awaitable[web.Response]]
PAGE = 100
FAULTS: dict[str, frozenset[Kind]] = {**SHARED, "comment": API, "cancel": API}


class Desk(TicketSimulator):
    """The ticket desk; see `routes` for its API and `Fault` for its faults.

    With `auto_decide` it decides each ticket without a person, taking these decisions in turn,
    `auto_decide_after` seconds after the creation (0: before the creation is answered).
    """

    control = "/desk"

    def __init__(
        self,
        *,
        announce_created: bool = False,
        honour_idempotency_key: bool = False,
        auto_decide: Sequence[str] = (),
        auto_decide_after: float = 0,
        scopes: Collection[str] = (),
        **account: Unpack[TicketSystemOptions],
    ) -> None:
        super().__init__(kinds=FAULTS, scopes=scopes, **account)
        self.tickets = Tickets()
        self.announce_created = announce_created
        self.honour_idempotency_key = honour_idempotency_key
        self._by_idempotency_key: dict[str, Ticket] = {}
        self._auto_decisions = cycle(auto_decide) if auto_decide else None
        self._auto_decide_after = auto_decide_after

    def decide(self, name: str, status: str, *, by: str = "olga", comment: str = "") -> None:
        """Set a ticket's status, as a person does; raises KeyError if it does not exist."""
        ticket = self.tickets.get(name)
        if ticket is None:
            raise KeyError(name)
        self._change(ticket, status, by=by, comment=comment)

    @override
    def routes(self) -> Iterable[web.RouteDef]:
        ticket, on_ticket = "/api/tickets/{ticket}", self._on_ticket
        return (
            web.get("/oauth/authorize", self.authorization.authorize),
            web.post("/oauth/token", self.guarded("token", self.authorization.token)),
            web.post("/api/tickets", self.api("create", self._create)),
            web.get("/api/tickets", self.api("find", self._find)),
            web.get(ticket, self.api("read", on_ticket(self._read))),
            web.post(f"{ticket}/comments", self.api("comment", on_ticket(self._comment))),
            web.post(f"{ticket}/cancel", self.api("cancel", on_ticket(self._cancel))),
            web.get("/desk/tickets", self._show_all),
            web.get("/desk/tickets/{ticket}", on_ticket(self._show)),
            web.post("/desk/tickets/{ticket}/decision", on_ticket(self._decide)),
        )

    @override
    def refusal(self, request: web.Request) -> web.Response:
        challenge = {"WWW-Authenticate": 'Bearer realm="desk", error="invalid_token"'}
        return answer(401, {"error": {"message": "the access token is not valid"}}, challenge)

    async def _create(self, request: web.Request) -> web.Response:
        fields = await json_object(request)
        if fields is None:
            return _error(400, "the body is not a JSON object")
        if problem := validation_error(fields):
            return _error(422, problem)
        key = request.headers.get("Idempotency-Key") if self.honour_idempotency_key else None
        if key is not None and (existing := self._by_idempotency_key.get(key)) is not None:
            return answer(201, {"ticket": existing.fields})
        pages = f"{self.url}/desk/tickets"
        ticket = self.tickets.add(fields, pages=pages, now=self.clock.now())
        if key is not None:
            self._by_idempotency_key[key] = ticket
        self._record("created", ticket, key=ticket.fields["key"])
        self._created.put_nowait(ticket.fields)
        if self.announce_created:
            self.events.send("ticket.created", ticket.fields)
        self._auto_decide(ticket)
        return answer(201, {"ticket": ticket.fields})

    async def _list(self, request: web.Request) -> web.Response:
        """Return one page of the tickets with these ids, or of those changed since a time."""
        query = request.query
        kind = "ids" if "ids" in query else "updated_since"
        if kind == "ids":
            tickets = [self.tickets.get(name) for name in query["ids"].split(",")[:PAGE]]
            matches = [ticket.fields for ticket in tickets if ticket is not None]
        else:
            matches = self.tickets.changed(query["updated_since"])
        start = int(query.get("offset", "0"))
        page = matches[start : start + PAGE]
        self.journal.record("list", asked=kind, found=len(page))
        return answer(200, {"tickets": page, "more": len(matches) > start + PAGE})

    async def _find(self, request: web.Request) -> web.Response:
        if {"ids", "updated_since"} & request.query.keys():
            return await self._list(request)
        correlation_id = request.query.get("correlation_id")
        if correlation_id is None:
            return _error(400, "correlation_id is missing")
        indexed = self.index_time(correlation_id)
        tickets = self.tickets.with_correlation_id(correlation_id)
        matches = [ticket.fields for ticket in tickets if ticket.created < indexed]
        self.journal.record("find", correlation_id=correlation_id, found=len(matches))
        return answer(200, {"tickets": matches})

    async def _read(self, _: web.Request, ticket: Ticket) -> web.Response:
        fields = ticket.previous_fields if self.is_stale("read", ticket.id) else ticket.fields
        self.journal.record("read", ticket=ticket.id, status=fields["status"])
        return answer(200, {"ticket": fields})

    async def _comment(self, request: web.Request, ticket: Ticket) -> web.Response:
        text = (await json_object(request) or {}).get("text")
        if not isinstance(text, str) or not text:
            return _error(422, "text is missing")
        ticket.comments.append({"id": str(len(ticket.comments) + 1), "text": text})
        self._record("comment", ticket, text=text)
        return answer(201, {"comment": ticket.comments[-1]})

    async def _cancel(self, request: web.Request, ticket: Ticket) -> web.Response:
        reason = (await json_object(request) or {}).get("reason")
        if not isinstance(reason, str) or not reason:
            return _error(422, "reason is missing")
        if ticket.fields["status"] in DECISIONS | {"done"}:
            return _error(409, f"the ticket is {ticket.fields['status']} already")
        self._change(ticket, "cancelled", by="api", comment=reason)
        return answer(200, {"ticket": ticket.fields})

    async def _show_all(self, _: web.Request) -> web.Response:
        return answer(200, {"tickets": self.tickets.all()})

    async def _show(self, _: web.Request, ticket: Ticket) -> web.Response:
        return answer(200, {"ticket": ticket.fields, "comments": ticket.comments})

    async def _decide(self, request: web.Request, ticket: Ticket) -> web.Response:
        body = {"by": "olga", "comment": ""} | (await json_object(request) or {})
        if not all(isinstance(body.get(name), str) for name in ("decision", "by", "comment")):
            return _error(422, "decision, by and comment must be strings; decision is required")
        self._change(ticket, body["decision"], by=body["by"], comment=body["comment"])
        return answer(200, {"ticket": ticket.fields})

    def _on_ticket(self, handler: TicketHandler) -> Handler:
        """Return a handler that looks the ticket of the path up first, and answers 404 without."""

        async def handle(request: web.Request) -> web.Response:
            ticket = self.tickets.get(request.match_info["ticket"])
            if ticket is None:
                return _error(404, "no such ticket")
            return await handler(request, ticket)

        return handle

    def _change(self, ticket: Ticket, status: str, *, by: str, comment: str) -> None:
        self.tickets.change(ticket, status, by=by, comment=comment, now=self.clock.now())
        self._record("status", ticket, status=status, by=by, comment=comment)
        self.events.send("ticket.updated", ticket.fields)

    def _auto_decide(self, ticket: Ticket) -> None:
        if self._auto_decisions is None:
            return
        decision = next(self._auto_decisions)
        if self._auto_decide_after == 0:
            self._change(ticket, decision, by="auto", comment="")
            return

        def decide() -> None:
            if not self.client.closed:
                self._change(ticket, decision, by="auto", comment="")

        asyncio.get_running_loop().call_later(self._auto_decide_after, decide)

    def _record(self, kind: str, ticket: Ticket, **fields: Any) -> None:
        self.journal.record(kind, ticket=ticket.id, correlation_id=ticket.correlation_id, **fields)


def _error(status: int, message: str) -> web.Response:
    return answer(status, {"error": {"message": message}})
