"""The API of one Jira site: what it is asked, on Atlassian's Cloud and in a data center.

Both speak the same words with small differences: version 3 or 2 of the platform's API, a search
whose pages have tokens or numbers, users by account id or by name. Issues are followed by id: their
keys change when they are moved.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from proxy.errors import ConfigurationError, NotFoundError, PermanentError, TemporaryError
from proxy.outbound.destination import Destination
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.json_api import JsonApi

PAGE: Final = 100
MOST_PAGES: Final = 200
MOST_FETCHED: Final = 100
"""Issues in one bulk fetch."""
MOST_RECONCILED: Final = 50
"""Issues of which a search can be told that it must know them as they are now."""
LONGEST: Final = 255
DESK: Final = "/rest/servicedeskapi"
ISSUE_ID: Final = re.compile(r"[0-9]{1,19}")
_MINUTE: Final = 60_000

Tree = Mapping[str, Any]


class Site(JsonApi):
    """What one site is asked; `name` is the ticket system's."""

    def __init__(self, *, name: str, base_url: str, http: Destination, cloud: bool) -> None:
        # older data centers show parts of the service desk only to who opts in
        opt_in = {} if cloud else {"X-ExperimentalApi": "opt-in"}
        super().__init__(name=name, base_url=base_url, http=http, headers=opt_in)
        self.cloud = cloud
        self.platform = f"/rest/api/{3 if cloud else 2}"
        self.user_id = "accountId" if cloud else "name"

    async def issue(self, ref: str, fields: Sequence[str], **more: str) -> Tree:
        """Return an issue by its id or key, with these of its fields."""
        query = {"fields": ",".join(fields), **more}
        path = f"{self.platform}/issue/{quote(ref, safe='')}"
        return self.object(await self.call("GET", path, query=query), "read")

    async def issues(self, refs: Sequence[str], fields: Sequence[str]) -> list[Tree]:
        """Return many issues by id, not through the index; what is not shown is left out."""
        body = {"issueIdsOrKeys": list(refs), "fields": list(fields)}
        tree = self.object(
            await self.call("POST", f"{self.platform}/issue/bulkfetch", body), "bulkfetch"
        )
        return self.objects(tree, "issues", "bulkfetch")

    async def search(
        self, jql: str, fields: Sequence[str], *, reconciled: Sequence[str] = ()
    ) -> list[Tree]:
        """Return all issues that a search finds.

        The order is that of the search, which should not change while pages are read. Issues named
        in `reconciled`, at most 50, are searched as they are now, however late the index is.

        Raises:
            ConfigurationError: the search was refused; a field is missing, or hidden from us.
            TemporaryError: it cannot be read to the end, so it is no answer.
        """
        if reconciled and self.cloud:
            try:
                return await self._pages(jql, fields, [int(ref) for ref in reconciled])
            except ConfigurationError:
                pass  # one of them may be gone; without them the search says what is wrong
        return await self._pages(jql, fields, [])

    async def _pages(
        self, jql: str, fields: Sequence[str], reconciled: Sequence[int]
    ) -> list[Tree]:
        found: list[Tree] = []
        place: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            tree = await self._page(jql, fields, place, reconciled)
            issues = self.objects(tree, "issues", "search")
            found += issues
            place = self._next(tree, len(issues), len(found))
            if not place:
                return found
        raise TemporaryError(f"{self.name}: a search finds more than {len(found)} issues")

    async def _page(
        self, jql: str, fields: Sequence[str], place: Tree, reconciled: Sequence[int]
    ) -> Tree:
        path = f"{self.platform}/search/jql" if self.cloud else f"{self.platform}/search"
        body = {"jql": jql, "fields": list(fields), "maxResults": PAGE, **place}
        if reconciled:
            body["reconcileIssues"] = list(reconciled)
        try:
            return self.object(await self.call("POST", path, body), "search")
        except PermanentError as error:
            raise ConfigurationError(
                f"{error}. Does the field exist, and may our account see it?",
                request_specific=True,
            ) from error

    def _next(self, tree: Tree, here: int, known: int) -> dict[str, Any]:
        """Return what asks for the next page, nothing if there is none."""
        if self.cloud:
            token = tree.get("nextPageToken")
            return {"nextPageToken": token} if token and not tree.get("isLast") else {}
        total = tree.get("total")
        if not isinstance(total, int):
            self.unreadable("a search", "no `total`")
        if known < total and not here:
            self.unreadable("a search", f"an empty page, and {known} of {total} issues before it")
        return {"startAt": known} if known < total else {}

    async def minutes_since(self, moment: int) -> int:
        """Return how many minutes ago a moment was, rounded up, by the clock of the site.

        JQL knows dates to the minute and in the zone of the account that asks; relative to now
        there is no zone, and the site's own clock says what now is.
        """
        tree = self.object(await self.call("GET", f"{self.platform}/serverInfo"), "serverInfo")
        now = moment_of(tree.get("serverTime"))
        if now is None:
            self.unreadable("serverInfo", "no `serverTime`")
        return max(1, (now - moment) // _MINUTE + 2)

    async def values(self, path: str) -> list[Tree]:
        """Return all values of a paged list of the service desk."""
        found: list[Tree] = []
        for _ in range(MOST_PAGES):
            query = {"start": str(len(found)), "limit": str(PAGE)}
            tree = self.object(await self.call("GET", path, query=query), "a list")
            values = self.objects(tree, "values", "a list")
            found += values
            if tree.get("isLastPage") is not False or not values:
                return found
        raise TemporaryError(f"{self.name}: {path} lists more than {len(found)} values")

    async def user(self, email: str) -> str:
        """Return the id of the one active user with an address; empty where it is not exactly one.

        Raises:
            TemporaryError: it cannot be known now; nothing was written.
        """
        query = {"query" if self.cloud else "username": email, "maxResults": "50"}
        try:
            users = await self.call("GET", f"{self.platform}/user/search", query=query)
        except NotFoundError:
            return ""
        except TemporaryError as error:
            raise TemporaryError(
                str(error), retry_after=error.retry_after, maybe_sent=False
            ) from error
        found = {
            scalar_text(user.get(self.user_id), LONGEST)
            for user in (users if isinstance(users, list) else ())
            if isinstance(user, dict)
            and user.get("active") is True
            and scalar_text(user.get("emailAddress"), LONGEST).casefold() == email.casefold()
        }
        return next(iter(found)) if len(found) == 1 else ""

    def object(self, tree: Any, what: str) -> Tree:
        """Return an answer that must be an object."""
        if not isinstance(tree, dict):
            self.unreadable(what, "no object")
        return tree

    def objects(self, tree: Tree, name: str, what: str) -> list[Tree]:
        """Return a list of objects in an answer."""
        items = tree.get(name)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            self.unreadable(what, f"no list `{name}`")
        return items


def moment_of(value: Any) -> int | None:
    """Return a time, `2026-11-22T10:00:00.000+0100`, in milliseconds since the epoch."""
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return int(moment.timestamp() * 1_000) if moment.tzinfo else None


def quoted(text: str) -> str:
    """Return a text as a string of JQL; what would need an escape is refused."""
    if not text or not text.isprintable() or '"' in text or "\\" in text:
        raise PermanentError(f"{text!r} cannot stand in a JQL query")
    return f'"{text}"'


def fields_of(tree: Tree) -> Tree:
    """Return the fields of an issue."""
    fields = tree.get("fields")
    return fields if isinstance(fields, dict) else {}


def name_of(value: Any) -> str:
    """Return the name of a status, a resolution; empty where there is none."""
    return scalar_text(value.get("name"), LONGEST) if isinstance(value, dict) else ""


def status(tree: Tree) -> str:
    """Return the name of the status of an issue that was read."""
    return name_of(fields_of(tree).get("status"))


def category(tree: Tree) -> str:
    """Return the key of the category of an issue's status: new, indeterminate, done; or empty."""
    value = fields_of(tree).get("status")
    kept = value.get("statusCategory") if isinstance(value, dict) else None
    return scalar_text(kept.get("key"), LONGEST) if isinstance(kept, dict) else ""
