"""The tables of a simulated ServiceNow instance, in memory."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from proxy.domain.clock import Clock

APPROVALS: Final = (
    *("not requested", "requested", "approved", "rejected", "cancelled", "not_required"),
    "duplicate",
)
"""The values of the field `approval` of a task."""

TASKS: Final = {"change_request": "CHG", "incident": "INC", "sc_req_item": "RITM"}
LINKED: Final = (
    "sc_request",
    "sc_item_option_mtom",
    "sysapproval_approver",
    "sys_user",
    "sys_choice",
)
CATALOG_ITEM: Final = "0123456789abcdef0123456789abcdef"
MOST_ROWS: Final = 10_000
LENGTHS: Final = {"short_description": 160, "correlation_id": 100, "correlation_display": 100}
COLUMNS: Final = frozenset(
    (
        *("sys_id", "number", "short_description", "description", "approval", "state", "comments"),
        *("correlation_id", "correlation_display", "sys_created_on", "sys_updated_on", "request"),
        *("sys_mod_count", "requested_for", "category", "assignment_group", "request_item"),
        *("sc_item_option.value", "sc_item_option.item_option_new.name", "sysapproval"),
        *("approver.name", "approver.user_name", "approver.email"),
        *("group.assignment_group.name", "opened_by", "caller_id", "email", "active"),
        *("requested_by", "name", "element", "value", "inactive"),
    )
)


@dataclass(slots=True)
class Record:
    """One row of a table, now and before its last change; `created` in milliseconds."""

    table: str
    created: int
    fields: dict[str, Any]
    previous_fields: dict[str, Any]


class Tables:
    """All rows, by table and sys_id; `skew` is the lead of the instance's clock in milliseconds."""

    def __init__(self, clock: Clock, skew: int) -> None:
        self._clock = clock
        self._skew = skew
        self._tables: dict[str, dict[str, Record]] = {name: {} for name in (*TASKS, *LINKED)}
        for value in APPROVALS:
            choice = {"name": "task", "element": "approval", "value": value, "inactive": "false"}
            self.insert("sys_choice", choice)

    def __contains__(self, table: str) -> bool:
        return table in self._tables

    def records(self, table: str) -> Iterable[Record]:
        """Return the records of a table, oldest first."""
        return self._tables[table].values()

    def get(self, table: str, sys_id: str) -> Record | None:
        """Return one record."""
        return self._tables[table].get(sys_id)

    def delete(self, record: Record) -> None:
        """Remove a record."""
        del self._tables[record.table][record.fields["sys_id"]]

    def clear(self, table: str) -> None:
        """Remove all records of a table."""
        self._tables[table].clear()

    def task(self, name: str) -> Record | None:
        """Return a task by its sys_id or its number."""
        for table in TASKS:
            for record in self.records(table):
                if name in {record.fields["sys_id"], record.fields["number"]}:
                    return record
        return None

    def insert(self, table: str, fields: Mapping[str, Any]) -> Record:
        """Add a row."""
        now, sys_id = self._time(), uuid.uuid4().hex
        number = f"{TASKS.get(table, 'REQ')}{len(self._tables[table]) + 30_001:07}"
        stamps = {"sys_id": sys_id, "number": number, "sys_created_on": now, "sys_updated_on": now}
        row = {**_kept(fields), **stamps, "sys_mod_count": "0"}
        record = Record(table, self._clock.now(), row, row)
        self._tables[table][sys_id] = record
        return record

    def update(self, record: Record, fields: Mapping[str, Any]) -> None:
        """Change a row; unknown fields are ignored."""
        record.previous_fields = record.fields
        count = str(int(record.fields["sys_mod_count"]) + 1)
        changed = {"sys_updated_on": self._time(), "sys_mod_count": count}
        record.fields = {**record.fields, **_kept(fields), **changed}

    def _time(self) -> str:
        moment = datetime.fromtimestamp((self._clock.now() + self._skew) // 1000, UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%S")


def _kept(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields, cut to their maximum lengths."""
    return {
        name: str(value)[: LENGTHS.get(name, 4000)]
        for name, value in fields.items()
        if name in COLUMNS
    }


def result_fields(row: Mapping[str, Any], query: Mapping[str, str], url: str) -> dict[str, Any]:
    """Return the requested fields of a row, references with their links."""
    names = query.get("sysparm_fields", ",".join(sorted(COLUMNS))).split(",")
    plain = query.get("sysparm_exclude_reference_link") == "true"
    fields = {name: row.get(name, "") for name in names if name in COLUMNS}
    for name in {"request", "request_item", "sysapproval"} & fields.keys():
        if not plain and fields[name]:
            fields[name] = {"link": f"{url}/api/now/table/x", "value": fields[name]}
    return fields
