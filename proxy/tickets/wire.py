"""What goes out as a call and comes back as a ticket, as a declaration says: pure, no I/O."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from yarl import URL

from proxy.domain.models import Ticket
from proxy.errors import PermanentError
from proxy.outbound import Call
from proxy.tickets.calls import CallShape
from proxy.tickets.expressions import finder
from proxy.tickets.rest_declaration import RestDeclaration
from proxy.tickets.templates import Names, path_template, text_template, tree_template
from proxy.tickets.values import digest, scalar_text

LONGEST_CALL: Final = 256 * 1024
LONGEST_NAME: Final = 255
LONGEST_TEXT: Final = 4_000
MOST_NAMES: Final = 50


class CallWriter:
    """One call of the declaration, compiled."""

    def __init__(
        self, shape: CallShape, *, place: str, base_url: str, limits: Mapping[str, int]
    ) -> None:
        self.success = frozenset(shape.success)
        self._place = place
        self._base_url = base_url
        self._method = shape.method
        self._path = path_template(shape.path, f"{place}.path")
        self._query = {
            name: text_template(value, f"{place}.query.{name}")
            for name, value in shape.query.items()
        }
        self._headers = {
            name: text_template(value, f"{place}.headers.{name}")
            for name, value in shape.headers.items()
        }
        self._has_body = shape.body is not None
        self._body = tree_template(shape.body, f"{place}.body", limits)

    def write(self, **names: Any) -> Call:
        """Return the call for these values.

        Raises:
            PermanentError: the values do not fit the templates, or HTTP.
        """
        url = URL(self._base_url + self._path(names), encoded=True)
        if self._query:
            url = url.with_query({name: render(names) for name, render in self._query.items()})
        body = self._write_body(names) if self._has_body else None
        headers = self._write_headers(names)
        if len(str(url)) + len(body or b"") > LONGEST_CALL:
            raise PermanentError(f"{self._place} would be longer than {LONGEST_CALL} bytes")
        return Call(self._method, str(url), headers, body)

    def _write_headers(self, names: Names) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._has_body:
            headers["Content-Type"] = "application/json"
        for name, render in self._headers.items():
            value = render(names)
            if not (value.isascii() and value.isprintable()):
                raise PermanentError(
                    f"{self._place}.headers.{name} cannot be written for this request: a header"
                    " holds printable ASCII only (RFC 9110 5.5)"
                )
            headers[name.title()] = value
        return headers

    def _write_body(self, names: Names) -> bytes:
        try:
            return orjson.dumps(self._body(names))
        except orjson.JSONEncodeError as error:
            raise PermanentError(f"{self._place}.body cannot be written as JSON: {error}") from None


class TicketReader:
    """Reads a ticket out of an answer's tree, as the declaration says."""

    def __init__(self, declaration: RestDeclaration) -> None:
        places = declaration.ticket
        self._places = {
            name: finder(place) for name, place in places.model_dump(exclude_none=True).items()
        }
        self._places.setdefault("key", self._places["id"])
        self._places.setdefault("fulfilment", self._places["status"])
        self._declaration = declaration
        self._base_url = URL(declaration.base_url)

    def read(self, tree: Any) -> Ticket | None:
        """Return the ticket; None if the tree has no id where one is expected."""
        ticket_id = self._text("id", tree)
        if not ticket_id:
            return None
        status = self._text("status", tree)
        return Ticket(
            id=ticket_id,
            key=self._text("key", tree) or ticket_id,
            url=self._url(tree),
            native_status=status,
            outcome=self._declaration.outcome(status),
            fulfilment=self._declaration.fulfilled(self._text("fulfilment", tree)),
            decided_by=self._text("decided_by", tree),
            decided_at=self._text("decided_at", tree),
            comment=self._text("comment", tree, LONGEST_TEXT),
            created_at=self._text("created", tree),
            deciders=self._texts("deciders", tree),
            decider_groups=self._texts("decider_groups", tree),
            key_fields=self._digest("key_fields", tree),
        )

    def _text(self, name: str, tree: Any, limit: int = LONGEST_NAME) -> str:
        place = self._places.get(name)
        return scalar_text(place(tree), limit).strip() if place else ""

    def _texts(self, name: str, tree: Any) -> tuple[str, ...]:
        """Return one text or a list of them, without empty ones."""
        place = self._places.get(name)
        found = place(tree) if place else None
        values = found if isinstance(found, list) else [found]
        texts = (scalar_text(value, LONGEST_NAME).strip() for value in values[:MOST_NAMES])
        return tuple(filter(None, texts))

    def _digest(self, name: str, tree: Any) -> str:
        """Return a digest of whatever is there, so that a change of it is noticed."""
        place = self._places.get(name)
        found = place(tree) if place else None
        return "" if found is None else digest(found)

    def _url(self, tree: Any) -> str:
        """Return where people see the ticket: nothing but http and https, as it becomes a link."""
        written = self._text("url", tree, LONGEST_TEXT)
        try:
            url = self._base_url.join(URL(written))
        except ValueError:
            return ""
        return str(url) if written and url.scheme in {"http", "https"} and url.host else ""
