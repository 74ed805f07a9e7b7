"""The Table API of one ServiceNow instance: calls, pages, and how its values are written.

Times are UTC texts without a zone. A list is complete or an error; what an answer holds is for the
caller to compare with what was asked.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from proxy.domain.text import clean
from proxy.errors import PermanentError, TemporaryError
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.json_api import JsonApi

PAGE: Final = 200
MOST_PAGES: Final = 100
LONGEST: Final = 255
SYS_ID: Final = re.compile(r"[0-9a-f]{32}")
_CODE: Final = re.compile(r"\[(?=/?code\])", re.IGNORECASE)


class Instance(JsonApi):
    """What one instance is asked; `name` is the ticket system's."""

    async def rows(self, table: str, query: str, fields: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return all rows of a query.

        Raises:
            TemporaryError: they cannot be read to the end, so they are no answer.
        """
        found: list[Mapping[str, Any]] = []
        for _ in range(MOST_PAGES):
            page = await self.page(table, query, fields, offset=len(found))
            found += page
            if len(page) < PAGE:
                return found
        raise TemporaryError(f"{self.name}: {table} lists more than {MOST_PAGES * PAGE} rows")

    async def since(
        self, table: str, query: str, fields: Sequence[str], *, moment: int
    ) -> list[Mapping[str, Any]]:
        """Return all rows of a query that changed at or after a moment, some of them twice.

        A record that changes meanwhile moves to the end of the list. With offsets over the whole
        list another one would slip through; so each page begins with the second of the last row.
        """
        found: list[Mapping[str, Any]] = []
        offset = 0
        for _ in range(MOST_PAGES):
            changed = f"{query}^sys_updated_on>={text_time(moment)}"
            ordered = f"{changed}^ORDERBYsys_updated_on^ORDERBYsys_id"
            page = await self.page(table, ordered, fields, offset=offset)
            found += page
            if len(page) < PAGE:
                return found
            last = moment_of(page[-1].get("sys_updated_on")) or 0
            moment, offset = (last, 0) if last > moment else (moment, offset + PAGE)
        raise TemporaryError(f"{self.name}: {table} lists more than {MOST_PAGES * PAGE} changes")

    async def page(
        self, table: str, query: str, fields: Sequence[str], *, offset: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return one page of rows."""
        shape = {
            **shaped(fields),
            "sysparm_query": query,
            "sysparm_limit": str(PAGE),
            "sysparm_offset": str(offset),
            "sysparm_no_count": "true",
        }
        tree = await self.call("GET", f"/api/now/table/{table}", query=shape)
        rows = tree.get("result") if isinstance(tree, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            self.unreadable(f"a list of {table}", "no list `result`")
        return rows

    def result(self, tree: Any, what: str) -> Mapping[str, Any]:
        """Return the one record of an answer."""
        result = tree.get("result") if isinstance(tree, dict) else None
        if not isinstance(result, dict):
            self.unreadable(what, "no object `result`")
        return result

    async def change(self, table: str, sys_id: str, fields: Mapping[str, Any]) -> None:
        """Write fields of a record."""
        path = f"/api/now/table/{table}/{quote(sys_id, safe='')}"
        await self.call("PATCH", path, fields, query={"sysparm_fields": "sys_id"}, repeatable=False)


def quoted(text: str) -> str:
    """Return a text for an encoded query.

    `^` would end the condition and begin another one, and `javascript:` begins a script.
    """
    if "^" in text or "\n" in text or not text or text.lower().startswith("javascript:"):
        raise PermanentError(f"{text!r} cannot stand in a ServiceNow query")
    return text


def shaped(fields: Sequence[str]) -> dict[str, str]:
    """Return the parameters that ask for these fields, as plain values."""
    return {
        "sysparm_fields": ",".join(fields),
        "sysparm_display_value": "false",
        "sysparm_exclude_reference_link": "true",
    }


def text_of(value: Any) -> str:
    """Return a scalar as text; of a reference that came with its link, the value."""
    inner = value.get("value") if isinstance(value, dict) else value
    return scalar_text(inner, LONGEST).strip()


def moment_of(value: Any) -> int | None:
    """Return a UTC text time, `2026-11-22 10:00:00`, in milliseconds since the epoch."""
    try:
        moment = datetime.strptime(text_of(value), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000


def text_time(milliseconds: int) -> str:
    """Return a moment as queries want it, cut to the second."""
    return datetime.fromtimestamp(milliseconds // 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def harmless(text: str) -> str:
    """Return a text for a journal field, where `[code]` would make HTML of what follows."""
    return _CODE.sub("[ ", clean(text))
