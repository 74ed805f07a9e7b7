"""ServiceNow client: the Table API of one instance, its pages, and the form of its values.

Times are UTC texts without a zone. A list is complete or an error; callers must compare its rows
with what they asked for, because the instance ignores parts of a query that it does not understand.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from proxy.domain.text import clean
from proxy.domain.timestamps import utc
from proxy.errors import PermanentError, TemporaryError
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.json_api import JsonApi, Tree, nested

PAGE: Final = 200
MOST_PAGES: Final = 100
LONGEST: Final = 255
SYS_ID: Final = re.compile(r"[0-9a-f]{32}")
_CODE: Final = re.compile(r"\[(?=/?code\])", re.IGNORECASE)


class Instance(JsonApi):
    """The API of one instance; `name` is the ticket system's."""

    async def rows(self, table: str, query: str, fields: Sequence[str]) -> list[Tree]:
        """Return all rows of a query.

        Raises:
            TemporaryError: they cannot be read to the end.
        """
        rows: list[Tree] = []
        for _ in range(MOST_PAGES):
            page = await self.page(table, query, fields, offset=len(rows))
            rows += page
            if len(page) < PAGE:
                return rows
        raise TemporaryError(f"{self.name}: {table} lists more than {MOST_PAGES * PAGE} rows")

    async def since(
        self, table: str, query: str, fields: Sequence[str], *, moment: int
    ) -> list[Tree]:
        """Return all rows of a query that changed at or after a time, some of them twice.

        A record that changes meanwhile moves to the end of the list. With offsets over the whole
        list another one would be skipped, so each page begins at the last row's second.
        """
        rows: list[Tree] = []
        offset = 0
        for _ in range(MOST_PAGES):
            changed = f"{query}^sys_updated_on>={text_time(moment)}"
            ordered = f"{changed}^ORDERBYsys_updated_on^ORDERBYsys_id"
            page = await self.page(table, ordered, fields, offset=offset)
            rows += page
            if len(page) < PAGE:
                return rows
            last = moment_of(page[-1].get("sys_updated_on")) or 0
            moment, offset = (last, 0) if last > moment else (moment, offset + PAGE)
        raise TemporaryError(f"{self.name}: {table} lists more than {MOST_PAGES * PAGE} changes")

    async def page(
        self, table: str, query: str, fields: Sequence[str], *, offset: int = 0, limit: int = PAGE
    ) -> list[Tree]:
        """Return one page of rows."""
        shape = {
            **shaped(fields),
            "sysparm_query": query,
            "sysparm_limit": str(limit),
            "sysparm_offset": str(offset),
            "sysparm_no_count": "true",
        }
        tree = await self.call("GET", f"/api/now/table/{table}", query=shape)
        return self.objects(tree, "result", f"a list of {table}")

    def result(self, tree: Any, what: str) -> Tree:
        """Return the one record of an answer."""
        result = nested(tree, "result")
        if not isinstance(result, dict):
            self.unreadable(what, "no object `result`")
        return result

    async def change(self, table: str, sys_id: str, fields: Tree) -> None:
        """Write fields of a record."""
        path = f"/api/now/table/{table}/{quote(sys_id, safe='')}"
        await self.call("PATCH", path, fields, query={"sysparm_fields": "sys_id"}, repeatable=False)


def quoted(text: str) -> str:
    """Return a text for an encoded query; PermanentError for one that would change the query.

    `^` ends a condition and begins another one, and `javascript:` begins a script.
    """
    if "^" in text or "\n" in text or not text or text.lower().startswith("javascript:"):
        raise PermanentError(f"{text!r} cannot be used in a ServiceNow query")
    return text


def shaped(fields: Sequence[str]) -> dict[str, str]:
    """Return the parameters that select these fields, as plain values."""
    return {
        "sysparm_fields": ",".join(fields),
        "sysparm_display_value": "false",
        "sysparm_exclude_reference_link": "true",
    }


def text_of(value: Any) -> str:
    """Return a scalar as text, or the value of a reference that came with its link."""
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
    """Return a time in the form of queries, cut to the second."""
    return utc(milliseconds).strftime("%Y-%m-%d %H:%M:%S")


def harmless(text: str) -> str:
    """Return a text for a journal field, in which `[code]` would turn what follows into HTML."""
    return _CODE.sub("[ ", clean(text))
