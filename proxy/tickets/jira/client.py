"""Jira client: the REST API of one site, in Atlassian's cloud or in a data center.

The two differ a little: version 3 or 2 of the platform's API, a search with page tokens or offsets,
users by account id or by name. Issues are followed by id, because their keys change when they are
moved.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from proxy.errors import ConfigurationError, NotFoundError, PermanentError, TemporaryError
from proxy.outbound.destination import Destination
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.json_api import JsonApi, Tree, nested, objects_of

PAGE: Final = 100
MOST_PAGES: Final = 200
MOST_FETCHED: Final = 100
"""Issues in one bulk fetch."""
MOST_RECONCILED: Final = 50
"""Issues that a search can be required to see as they are now."""
LONGEST: Final = 255
DESK: Final = "/rest/servicedeskapi"
ISSUE_ID: Final = re.compile(r"[0-9]{1,19}")
_MINUTE: Final = 60_000


class Site(JsonApi):
    """The API of one site; `name` is the ticket system's."""

    def __init__(self, *, name: str, base_url: str, http: Destination, cloud: bool) -> None:
        # older data centers need an opt-in for parts of the service desk's API
        opt_in = {} if cloud else {"X-ExperimentalApi": "opt-in"}
        super().__init__(name=name, base_url=base_url, http=http, headers=opt_in)
        self.cloud = cloud
        self.platform = f"/rest/api/{3 if cloud else 2}"
        self.user_id = "accountId" if cloud else "name"

    async def issue(self, ref: str, fields: Sequence[str], **more: str) -> Tree:
        """Return an issue with these fields, by its id or key."""
        query = {"fields": ",".join(fields), **more}
        path = f"{self.platform}/issue/{quote(ref, safe='')}"
        return self.object(await self.call("GET", path, query=query), "read")

    async def issues(self, refs: Sequence[str], fields: Sequence[str]) -> list[Tree]:
        """Return many issues by id, not through the index; those we may not see are left out."""
        body = {"issueIdsOrKeys": list(refs), "fields": list(fields)}
        tree = self.object(
            await self.call("POST", f"{self.platform}/issue/bulkfetch", body), "bulkfetch"
        )
        return self.objects(tree, "issues", "bulkfetch")

    async def search(
        self, jql: str, fields: Sequence[str], *, reconciled: Sequence[str] = ()
    ) -> list[Tree]:
        """Return all issues that a search finds.

        The order is that of the search; it must not change while pages are read. The issues in
        `reconciled`, at most 50, are searched as they are now, even if the index lags.

        Raises:
            ConfigurationError: the search was refused; a field is missing, or hidden from us.
            TemporaryError: it cannot be read to the end.
        """
        if reconciled and self.cloud:
            try:
                return await self._pages(jql, fields, [int(ref) for ref in reconciled])
            except ConfigurationError:
                pass  # one of them may be deleted; without them the search names the real problem
        return await self._pages(jql, fields, [])

    async def _pages(
        self, jql: str, fields: Sequence[str], reconciled: Sequence[int]
    ) -> list[Tree]:
        issues_so_far: list[Tree] = []
        page: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            tree = await self._page(jql, fields, page, reconciled)
            issues = self.objects(tree, "issues", "search")
            issues_so_far += issues
            page = self._next(tree, len(issues), len(issues_so_far))
            if not page:
                return issues_so_far
        raise TemporaryError(f"{self.name}: a search has more than {len(issues_so_far)} issues")

    async def _page(
        self, jql: str, fields: Sequence[str], page: Tree, reconciled: Sequence[int]
    ) -> Tree:
        path = f"{self.platform}/search/jql" if self.cloud else f"{self.platform}/search"
        body = {"jql": jql, "fields": list(fields), "maxResults": PAGE, **page}
        if reconciled:
            body["reconcileIssues"] = list(reconciled)
        try:
            return self.object(await self.call("POST", path, body), "search")
        except PermanentError as error:
            raise ConfigurationError(
                f"{error}. Does the field exist, and may our account see it?",
                request_specific=True,
            ) from error

    def _next(self, tree: Tree, here: int, total_so_far: int) -> dict[str, Any]:
        """Return the parameters of the next page, none after the last one."""
        if self.cloud:
            token = tree.get("nextPageToken")
            return {"nextPageToken": token} if token and not tree.get("isLast") else {}
        total = tree.get("total")
        if not isinstance(total, int):
            self.unreadable("a search", "no `total`")
        if total_so_far < total and not here:
            self.unreadable(
                "a search", f"an empty page, and {total_so_far} of {total} issues before it"
            )
        return {"startAt": total_so_far} if total_so_far < total else {}

    async def minutes_since(self, moment: int) -> int:
        """Return the minutes since a time, rounded up, by the clock of the site.

        JQL takes dates to the minute and in the time zone of our account; a time relative to now
        needs no zone, and the site's own clock defines now.
        """
        tree = self.object(await self.call("GET", f"{self.platform}/serverInfo"), "serverInfo")
        now = moment_of(tree.get("serverTime"))
        if now is None:
            self.unreadable("serverInfo", "no `serverTime`")
        return max(1, (now - moment) // _MINUTE + 2)

    async def values(self, path: str) -> list[Tree]:
        """Return all values of a paged list of the service desk."""
        items: list[Tree] = []
        for _ in range(MOST_PAGES):
            query = {"start": str(len(items)), "limit": str(PAGE)}
            tree = self.object(await self.call("GET", path, query=query), "a list")
            values = self.objects(tree, "values", "a list")
            items += values
            if tree.get("isLastPage") is not False or not values:
                return items
        raise TemporaryError(f"{self.name}: {path} has more than {len(items)} values")

    async def user(self, email: str) -> str:
        """Return the id of the one active user with this email; empty if it is not exactly one.

        Raises:
            TemporaryError: the site does not answer; nothing was written.
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
        ids = {
            scalar_text(user.get(self.user_id), LONGEST)
            for user in objects_of(users)
            if user.get("active") is True
            and scalar_text(user.get("emailAddress"), LONGEST).casefold() == email.casefold()
        }
        return next(iter(ids)) if len(ids) == 1 else ""


def moment_of(value: Any) -> int | None:
    """Return a time, `2026-11-22T10:00:00.000+0100`, in milliseconds since the epoch."""
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return int(moment.timestamp() * 1_000) if moment.tzinfo else None


def quoted(text: str) -> str:
    """Return a text as a JQL string; PermanentError for one that would need an escape."""
    if not text or not text.isprintable() or '"' in text or "\\" in text:
        raise PermanentError(f"{text!r} cannot be used in a JQL query")
    return f'"{text}"'


def fields_of(tree: Tree) -> Tree:
    """Return the fields of an issue."""
    fields = tree.get("fields")
    return fields if isinstance(fields, dict) else {}


def name_of(value: Any) -> str:
    """Return the name of a status or resolution; empty if there is none."""
    return scalar_text(nested(value, "name"), LONGEST)


def status(tree: Tree) -> str:
    """Return the name of an issue's status."""
    return name_of(nested(tree, "fields", "status"))


def category(tree: Tree) -> str:
    """Return the key of the category of an issue's status: new, indeterminate, done; or empty."""
    return scalar_text(nested(tree, "fields", "status", "statusCategory", "key"), LONGEST)
