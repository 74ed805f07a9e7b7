"""A ticket desk behind OAuth2: an API for programs, pages for the person who decides, events.

Its native statuses are new, in_review, approved, rejected, cancelled and done (the access is
really there); a person may set any other word, as real desks grow new ones.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import cycle
from typing import Any, Unpack

from aiohttp import web
from typing_extensions import override

from proxy.simulators.desk.tickets import DECISIONS, Ticket, Tickets, complaint
from proxy.simulators.faults import Kind
from proxy.simulators.server import answer, json_object
from proxy.simulators.ticket_system import API, Account, TicketSimulator
from proxy.simulators.ticket_system import FAULTS as SHARED

PAGE = 100
FAULTS: dict[str, frozenset[Kind]] = {**SHARED, "comment": API, "cancel": API}


class Desk(TicketSimulator):
    """The ticket desk; see `routes` for its API and `Fault` for what can go wrong.

    `auto_decide` decides tickets by itself, with these decisions in turn, `auto_decide_after`
    seconds after each creation (0: before the creation is answered).
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
        **account: Unpack[Account],
    ) -> None:
        super().__init__(kinds=FAULTS, scopes=scopes, **account)
        self.tickets = Tickets()
        self.announce_created = announce_created
        self.honour_idempotency_key = honour_idempotency_key
        self._by_idempotency_key: dict[str, Ticket] = {}
        self._auto_decisions = cycle(auto_decide) if auto_decide else None
        self._auto_decide_after = auto_decide_after

    def decide(self, name: str, status: str, *, by: str = "olga", comment: str = "") -> None:
        """Set a ticket's status, as a person at the desk does; raises KeyError if unknown."""
        ticket = self.tickets.get(name)
        if ticket is None:
            raise KeyError(name)
        self._change(ticket, status, by=by, comment=comment)

    @override
    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/oauth/authorize", self.authorization.authorize),
            web.post("/oauth/token", self.guarded("token", self.authorization.token)),
            web.post("/api/tickets", self.api("create", self._create)),
            web.get("/api/tickets", self.api("find", self._find)),
            web.get("/api/tickets/{ticket}", self.api("read", self._read)),
            web.post("/api/tickets/{ticket}/comments", self.api("comment", self._comment)),
            web.post("/api/tickets/{ticket}/cancel", self.api("cancel", self._cancel)),
            web.get("/desk/tickets", self._show_all),
            web.get("/desk/tickets/{ticket}", self._show),
            web.post("/desk/tickets/{ticket}/decision", self._decide),
        )

    @override
    def refusal(self, request: web.Request) -> web.Response:
        challenge = {"WWW-Authenticate": 'Bearer realm="desk", error="invalid_token"'}
        return answer(401, {"error": {"message": "the access token is not good"}}, challenge)

    async def _create(self, request: web.Request) -> web.Response:
        fields = await json_object(request)
        if fields is None:
            return _error(400, "the body is not a JSON object")
        if problem := complaint(fields):
            return _error(422, problem)
        key = request.headers.get("Idempotency-Key") if self.honour_idempotency_key else None
        if key is not None and (known := self._by_idempotency_key.get(key)) is not None:
            return answer(201, {"ticket": known.shown})
        pages = f"{self.url}/desk/tickets"
        ticket = self.tickets.add(fields, pages=pages, now=self.clock.now())
        if key is not None:
            self._by_idempotency_key[key] = ticket
        self._record("created", ticket, key=ticket.shown["key"])
        self._created.put_nowait(ticket.shown)
        if self.announce_created:
            self.events.send(self.client, "ticket.created", ticket.shown)
        self._auto_decide(ticket)
        return answer(201, {"ticket": ticket.shown})

    async def _list(self, request: web.Request) -> web.Response:
        """Answer with one page of the tickets with these ids, or that changed since a moment."""
        query = request.query
        if "ids" in query:
            wanted = [self.tickets.get(name) for name in query["ids"].split(",")[:PAGE]]
            found = [ticket.shown for ticket in wanted if ticket is not None]
        else:
            found = self.tickets.changed(query["updated_since"])
        start = int(query.get("offset", "0"))
        page = found[start : start + PAGE]
        asked = "ids" if "ids" in query else "updated_since"
        self.journal.record("list", asked=asked, found=len(page))
        return answer(200, {"tickets": page, "more": len(found) > start + PAGE})

    async def _find(self, request: web.Request) -> web.Response:
        if {"ids", "updated_since"} & request.query.keys():
            return await self._list(request)
        correlation_id = request.query.get("correlation_id")
        if correlation_id is None:
            return _error(400, "correlation_id is missing")
        found = self.tickets.of(correlation_id)
        if self.faults:
            for switch in self.faults.strikes("find", {"lag"}, subjects=(correlation_id,)):
                age = switch.fault.seconds
                visible = switch.since if age is None else self.clock.now() - int(age * 1000)
                found = [ticket for ticket in found if ticket.created < visible]
        shown = [ticket.shown for ticket in found]
        self.journal.record("find", correlation_id=correlation_id, found=len(shown))
        return answer(200, {"tickets": shown})

    async def _read(self, request: web.Request) -> web.Response:
        ticket = self._known(request)
        if ticket is None:
            return _error(404, "no such ticket")
        stale = bool(self.faults) and any(
            self.faults.strikes("read", {"stale"}, subjects=(ticket.id,))
        )
        shown = ticket.before if stale else ticket.shown
        self.journal.record("read", ticket=ticket.id, status=shown["status"])
        return answer(200, {"ticket": shown})

    async def _comment(self, request: web.Request) -> web.Response:
        ticket, fields = self._known(request), await json_object(request)
        if ticket is None:
            return _error(404, "no such ticket")
        text = (fields or {}).get("text")
        if not isinstance(text, str) or not text:
            return _error(422, "text is missing")
        ticket.comments.append({"id": str(len(ticket.comments) + 1), "text": text})
        self._record("comment", ticket, text=text)
        return answer(201, {"comment": ticket.comments[-1]})

    async def _cancel(self, request: web.Request) -> web.Response:
        ticket, fields = self._known(request), await json_object(request)
        if ticket is None:
            return _error(404, "no such ticket")
        reason = (fields or {}).get("reason")
        if not isinstance(reason, str) or not reason:
            return _error(422, "reason is missing")
        if ticket.shown["status"] in DECISIONS | {"done"}:
            return _error(409, f"the ticket is {ticket.shown['status']} already")
        self._change(ticket, "cancelled", by="api", comment=reason)
        return answer(200, {"ticket": ticket.shown})

    async def _show_all(self, _: web.Request) -> web.Response:
        return answer(200, {"tickets": self.tickets.all()})

    async def _show(self, request: web.Request) -> web.Response:
        ticket = self._known(request)
        if ticket is None:
            return _error(404, "no such ticket")
        return answer(200, {"ticket": ticket.shown, "comments": ticket.comments})

    async def _decide(self, request: web.Request) -> web.Response:
        ticket, fields = self._known(request), await json_object(request)
        if ticket is None:
            return _error(404, "no such ticket")
        given = {"by": "olga", "comment": ""} | (fields or {})
        if not all(isinstance(given.get(name), str) for name in ("decision", "by", "comment")):
            return _error(422, "decision, by and comment are texts; decision is needed")
        self._change(ticket, given["decision"], by=given["by"], comment=given["comment"])
        return answer(200, {"ticket": ticket.shown})

    def _known(self, request: web.Request) -> Ticket | None:
        return self.tickets.get(request.match_info["ticket"])

    def _change(self, ticket: Ticket, status: str, *, by: str, comment: str) -> None:
        self.tickets.change(ticket, status, by=by, comment=comment, now=self.clock.now())
        self._record("status", ticket, status=status, by=by, comment=comment)
        self.events.send(self.client, "ticket.updated", ticket.shown)

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
