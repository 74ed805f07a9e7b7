"""REST client: the calls of a declaration, and lists that are read page by page.

A list is complete or an error: one that cannot be read to its end is never returned in part.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NoReturn

from yarl import URL

from proxy.domain.models import ApprovalRequest
from proxy.errors import TemporaryError
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, Response, raise_for_status
from proxy.tickets.declaring.context import template_context
from proxy.tickets.declaring.expressions import compile_path
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.rest.declaration import RestDeclaration
from proxy.tickets.rest.lists import ListCall, Pages
from proxy.tickets.rest.request_writer import CallWriter

MOST_PAGES: Final = 1_000
LONGEST_TOKEN: Final = 4_096

_LINK: Final = re.compile(r'<([^<>]*)>((?:\s*;\s*[^\s;,="]+\s*(?:=\s*(?:"[^"]*"|[^\s;,"]*))?)*)')
_RELATION: Final = re.compile(r';\s*rel\s*=\s*"?([^";,]*)', re.IGNORECASE)


class Api:
    """The calls of one declaration, each by the name of its operation."""

    def __init__(self, *, name: str, declaration: RestDeclaration, http: Destination) -> None:
        self._name = name
        self._http = http
        self._base_url = declaration.base_url
        self._writers = {
            operation: CallWriter(
                shape,
                setting=f"{name}: {operation}",
                base_url=declaration.base_url,
                limits=declaration.limits if operation == "create" else {},
            )
            for operation, shape in declaration.calls()
        }

    async def send(self, operation: str, *, repeatable: bool = True, **names: Any) -> Response:
        """Make a call and return its answer; every status but those of success is an error."""
        call = self._writers[operation].write(**names)
        return await self.deliver(operation, call, repeatable=repeatable)

    async def deliver(self, operation: str, call: Call, *, repeatable: bool) -> Response:
        """Send a call that was written before."""
        answer = await self._http.send(call, repeatable=repeatable)
        raise_for_status(answer, call, system=self._name)
        if answer.status not in self._writers[operation].success:
            self.unreadable(answer, f"{answer.status}", f"{operation}.success")
        return answer

    def write(self, operation: str, **names: Any) -> Call:
        """Return the call of an operation with these values."""
        return self._writers[operation].write(**names)

    def write_create(self, request: ApprovalRequest) -> Call:
        """Return the call that opens a ticket; only the names in its templates are computed."""
        create = self._writers["create"]
        return create.write(**template_context(request, only=create.names))

    async def pages(
        self, operation: str, shape: ListCall, field: str, **names: Any
    ) -> AsyncIterator[list[Any]]:
        """Yield a list page by page; `field` is the setting that finds it in an answer.

        Raises:
            TemporaryError: it cannot be read to its end.
        """
        find = compile_path(getattr(shape, field))
        following = _Pages(shape.pages) if shape.pages else None
        before: list[Any] = []
        call = self._writers[operation].write(following.first() if following else {}, **names)
        for _ in range(MOST_PAGES):
            answer = await self.deliver(operation, call, repeatable=True)
            tree = answer.json()
            page = find(tree)
            if not isinstance(page, list):
                self.unreadable(answer, "no list", f"{operation}.{field}")
            if page and page == before:
                self.unreadable(answer, "the same page again", f"{operation}.pages")
            yield page
            where = following.after(answer, tree, page) if following else None
            if where is None:
                return
            if isinstance(where, str):
                call = Call("GET", self._below(where, call, answer, operation), call.headers)
            else:
                call = self._writers[operation].write(where, **names)
            before = page
        raise TemporaryError(
            f"{self._name}: {operation} has more than {MOST_PAGES} pages: narrow its query"
        )

    async def entries(self, operation: str, shape: ListCall, field: str, **names: Any) -> list[Any]:
        """Return all entries of a list; see `pages`."""
        return [
            entry async for page in self.pages(operation, shape, field, **names) for entry in page
        ]

    def unreadable(self, answer: Response, what: str, setting: str) -> NoReturn:
        """Raise TemporaryError for an answer that the declaration does not expect."""
        raise TemporaryError(
            f"{self._name}: {answer.label} answered with {what}, which is not what {setting} in"
            " the settings expects: correct it; the call may have had its effect"
        )

    def _below(self, link: str, call: Call, answer: Response, operation: str) -> str:
        """Return the URL of the next page, which must be below `base_url`, as every call is."""
        try:
            url = str(URL(call.url, encoded=True).join(URL(link, encoded=True)))
        except ValueError:
            url = ""
        if not (url.startswith(f"{self._base_url}/") and url.isascii() and url.isprintable()):
            self.unreadable(answer, "a next page elsewhere", f"{operation}.pages")
        return url


class _Pages:
    """The position in one list, and the parameters of its next page."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._number = pages.first
        self._count = 0
        self._next = compile_path(pages.next) if pages.next else None
        self._more = compile_path(pages.more) if pages.more else None

    def first(self) -> dict[str, str]:
        """Return the parameters of the first page."""
        match self._pages.style:
            case "offset":
                return self._parameter(0)
            case "page":
                return self._parameter(self._number)
            case _:
                return {}

    def after(self, answer: Response, tree: Any, page: list[Any]) -> dict[str, str] | str | None:
        """Return the parameters of the next page, or its URL; None after the last one."""
        ends = not page and (self._pages.counted or self._pages.style == "cursor")
        if ends or (self._more is not None and not self._more(tree)):
            return None
        self._number, self._count = self._number + 1, self._count + len(page)
        match self._pages.style:
            case "offset":
                return self._parameter(self._count)
            case "page":
                return self._parameter(self._number)
            case "link_header":
                return next_link(answer.headers) or None
            case "body_url":
                return self._named(tree) or None
            case "cursor":
                token = self._named(page[-1])
            case "next_token":
                token = self._named(tree)
        return self._parameter(token) if token else None

    def _named(self, tree: Any) -> str:
        return scalar_text(self._next(tree), LONGEST_TOKEN) if self._next else ""

    def _parameter(self, value: object) -> dict[str, str]:
        return {self._pages.parameter or "": str(value)}


def next_link(headers: Mapping[str, str]) -> str:
    """Return the URL with the relation `next` in the `Link` headers (RFC 8288 3), or nothing."""
    for name, value in headers.items():
        for url, parameters in _LINK.findall(value) if name.lower() == "link" else ():
            relation = _RELATION.search(parameters)
            if relation and "next" in relation[1].lower().split():
                return str(url)
    return ""
