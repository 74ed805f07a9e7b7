"""A ServiceNow instance with its pitfalls: the Table API, the service catalog and approvals.

Queries ignore unknown conditions, unknown fields are ignored, long texts are cut, times are UTC
strings to the second, the index may lag, a read may be stale, and the clock may be wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final, Unpack

from aiohttp import web
from typing_extensions import override

from proxy.simulators.faults import Kind
from proxy.simulators.server import Handler, answer, json_object
from proxy.simulators.servicenow.encoded_query import select
from proxy.simulators.servicenow.events import signed_payload
from proxy.simulators.servicenow.tables import (
    CATALOG_ITEM,
    COLUMNS,
    MOST_ROWS,
    TASKS,
    Record,
    Tables,
    result_fields,
)
from proxy.simulators.ticket_system import API, TicketSimulator, TicketSystemOptions
from proxy.simulators.ticket_system import FAULTS as SHARED

FAULTS: dict[str, frozenset[Kind]] = {**SHARED, "change": API}
FINAL: Final = frozenset({"approved", "rejected", "cancelled"})


class ServiceNow(TicketSimulator):
    """The instance; `skew` is the lead of its clock in milliseconds."""

    control = "/servicenow"

    def __init__(self, *, skew: int = 0, **account: Unpack[TicketSystemOptions]) -> None:
        account.setdefault("expires_in", 1800)
        super().__init__(kinds=FAULTS, write=signed_payload, **account)
        self.tables = Tables(self.clock, skew)
        self._hidden: set[str] = set()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table, oldest first."""
        return [record.fields for record in self.tables.records(table)]

    def add_user(self, email: str, *, active: bool = True) -> str:
        """Add a user, and return the id."""
        user = {"email": email, "active": "true" if active else "false"}
        return str(self._insert("sys_user", user).fields["sys_id"])

    def decide(
        self, name: str, approval: str, *, by: str = "olga", comment: str = "", group: str = ""
    ) -> None:
        """Set a task's approval as its approvers do; raises KeyError if it does not exist."""
        record = self._task(name)
        self._insert(
            "sysapproval_approver",
            {
                "sysapproval": record.fields["sys_id"],
                "state": approval,
                "comments": comment,
                "approver.name": by,
                "approver.user_name": by,
                "approver.email": by if "@" in by else f"{by}@company.com",
                "group.assignment_group.name": group,
            },
        )
        self.change(name, {"approval": approval})
        row = record.fields
        marks = {"ticket": row["sys_id"], "correlation_id": row.get("correlation_id")}
        self.journal.record("status", status=approval, by=by, comment=comment, **marks)

    def change(self, name: str, fields: Mapping[str, Any]) -> None:
        """Change fields of a task, as a person or a workflow does."""
        record = self._task(name)
        self.tables.update(record, fields)
        self._notify(record)

    def delete(self, name: str) -> None:
        """Remove a task."""
        self.tables.delete(self._task(name))

    def _task(self, name: str) -> Record:
        record = self.tables.task(name)
        if record is None:
            raise KeyError(name)
        return record

    def ignore(self, column: str) -> None:
        """Hide a column from queries, as from an account that may not read it."""
        self._hidden.add(column)

    @override
    def routes(self) -> Iterable[web.RouteDef]:
        table = "/api/now/table/{table}"
        order = "/api/sn_sc/servicecatalog/items/{item}/order_now"
        return (
            web.post("/oauth_token.do", self.guarded("token", self.authorization.token)),
            web.post(table, self.api("create", self._create)),
            web.get(table, self.api("find", self._list)),
            web.get(f"{table}/{{sys_id}}", self.api("read", self._read)),
            web.patch(f"{table}/{{sys_id}}", self.api("change", self._patch)),
            web.post(order, self.api("create", self._order)),
            web.get("/nav_to.do", self._page),
            web.get("/servicenow/tasks", self._tasks),
            web.post("/servicenow/tasks/{task}/decision", self._decide),
        )

    @override
    def api(self, operation: str, effect: Handler) -> Handler:
        async def in_a_table(request: web.Request) -> web.Response:
            if request.match_info.get("table", "incident") not in self.tables:
                return _error(400, f"Invalid table {request.match_info['table']}")
            return await effect(request)

        return super().api(operation, in_a_table)

    @override
    def refusal(self, request: web.Request) -> web.Response:
        return _error(401, "User Not Authenticated", "Required to provide Auth information")

    async def _create(self, request: web.Request) -> web.Response:
        table, fields = request.match_info["table"], await json_object(request)
        if fields is None:
            return _error(400, "Exception while reading request", "The payload is not JSON")
        if table not in TASKS:
            return _error(403, "Operation Failed", f"ACL Exception Insert Failed on {table}")
        record = self._insert(table, {"approval": "not requested", "state": "-5", **fields})
        return answer(201, {"result": result_fields(record.fields, request.query, self.url)})

    async def _order(self, request: web.Request) -> web.Response:
        body = await json_object(request) or {}
        if request.match_info["item"] != CATALOG_ITEM:
            return _error(404, "No Record found", "Invalid catalog item")
        if not isinstance(body.get("variables"), dict) or "sysparm_quantity" not in body:
            return _error(400, "Mandatory Parameter sysparm_quantity missing")
        ordered = self._insert("sc_request", {}).fields
        ritm = self._insert(
            "sc_req_item",
            {"approval": "requested", "state": "1", "request": ordered["sys_id"]},
        )
        for name, value in body["variables"].items():
            option = {"sc_item_option.value": value, "sc_item_option.item_option_new.name": name}
            self._insert("sc_item_option_mtom", {"request_item": ritm.fields["sys_id"], **option})
        result = {"request_number": ordered["number"], "request_id": ordered["sys_id"]}
        return answer(200, {"result": {**result, "table": "sc_request"}})

    async def _list(self, request: web.Request) -> web.Response:
        table, query = request.match_info["table"], request.query.get("sysparm_query", "")
        indexed = self.index_time() if "correlation_id" in query else inf
        rows = [record.fields for record in self.tables.records(table) if record.created < indexed]
        matches = select(query, rows, COLUMNS - self._hidden)
        start = int(request.query.get("sysparm_offset", "0"))
        limit = min(int(request.query.get("sysparm_limit", str(MOST_ROWS))), MOST_ROWS)
        page = matches[start : start + limit]
        self._note_list(table, query, page)
        result = [result_fields(row, request.query, self.url) for row in page]
        self.run_after_page()
        headers = (
            {} if "sysparm_no_count" in request.query else {"X-Total-Count": str(len(matches))}
        )
        return answer(200, {"result": result}, headers)

    async def _read(self, request: web.Request) -> web.Response:
        record = self.tables.get(request.match_info["table"], request.match_info["sys_id"])
        if record is None:
            detail = "Record doesn't exist or ACL restricts the record retrieval"
            return _error(404, "No Record found", detail)
        stale = self.is_stale("read", record.fields["sys_id"])
        row = record.previous_fields if stale else record.fields
        self._note_read(row, listed=False)
        return answer(200, {"result": result_fields(row, request.query, self.url)})

    async def _patch(self, request: web.Request) -> web.Response:
        record = self.tables.get(request.match_info["table"], request.match_info["sys_id"])
        fields = await json_object(request)
        if record is None:
            return _error(404, "No Record found", "Record doesn't exist or ACL restricts")
        if fields is None:
            return _error(400, "Exception while reading request", "The payload is not JSON")
        if "comments" in fields:
            comment = str(fields["comments"])
            self.journal.record("comment", ticket=record.fields["sys_id"], text=comment)
        self.tables.update(
            record, {name: value for name, value in fields.items() if name != "comments"}
        )
        self._notify(record)
        return answer(200, {"result": result_fields(record.fields, request.query, self.url)})

    async def _page(self, request: web.Request) -> web.Response:
        record = self.tables.task(request.query.get("uri", "").rpartition("=")[2])
        return answer(200, record.fields) if record else _error(404, "No Record found")

    async def _tasks(self, _: web.Request) -> web.Response:
        return answer(200, {"tasks": [row for table in TASKS for row in self.rows(table)]})

    async def _decide(self, request: web.Request) -> web.Response:
        body = await json_object(request) or {}
        record = self.tables.task(request.match_info["task"])
        if record is None:
            return _error(404, "No Record found")
        if record.fields["approval"] in FINAL:
            return _error(409, f"It is {record.fields['approval']} already")
        decision = {"by": "olga", "comment": "", "decision": "approved"} | body
        sys_id = record.fields["sys_id"]
        self.decide(sys_id, decision["decision"], by=decision["by"], comment=decision["comment"])
        return answer(200, record.fields)

    def _insert(self, table: str, fields: Mapping[str, Any]) -> Record:
        record = self.tables.insert(table, fields)
        if table in TASKS:
            row = record.fields
            marks = {"key": row["number"], "correlation_id": row.get("correlation_id")}
            self.journal.record("created", ticket=row["sys_id"], **marks)
            self._created.put_nowait(row)
        return record

    def _note_list(self, table: str, query: str, page: Sequence[Mapping[str, Any]]) -> None:
        """Record a list in the journal; also as the look-up or the reads that it stands for."""
        self.journal.record("list", table=table, query=query, found=len(page))
        field, _, value = query.partition("^")[0].partition("=")
        if field == "correlation_id":
            self.journal.record("find", correlation_id=value, found=len(page))
        for row in page if query.startswith("sys_idIN") else ():
            self._note_read(row, listed=True)

    def _note_read(self, row: Mapping[str, Any], *, listed: bool) -> None:
        read = {"ticket": row["sys_id"], "status": row["approval"], "listed": listed}
        self.journal.record("read", **read)

    def _notify(self, record: Record) -> None:
        if record.table in TASKS:
            self.events.send("updated", {"id": record.fields["sys_id"], **record.fields})


def _error(status: int, message: str, detail: str | None = None) -> web.Response:
    body = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return answer(status, body)
