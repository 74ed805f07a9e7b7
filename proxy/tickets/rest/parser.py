"""REST parser: reads tickets and approvals out of answers, as a declaration describes; pure."""

from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

from proxy.domain.models import Ticket
from proxy.tickets.declaring.expressions import compile_path
from proxy.tickets.declaring.sanitize import digest, reference, scalar_text
from proxy.tickets.rest.declaration import RestDeclaration
from proxy.tickets.rest.lists import ApprovalsCall

LONGEST_NAME: Final = 255
LONGEST_TEXT: Final = 4_000
MOST_NAMES: Final = 50


class FieldPaths:
    """The compiled expressions that find values in a tree; a value without one is empty."""

    def __init__(self, paths: Mapping[str, str | None]) -> None:
        self._places = {name: compile_path(path) for name, path in paths.items() if path}

    def text(self, name: str, tree: Any, limit: int = LONGEST_NAME) -> str:
        """Return a scalar as text."""
        find = self._places.get(name)
        value = find(tree) if find else None
        return "" if value is None else scalar_text(value, limit).strip()

    def reference(self, name: str, tree: Any) -> str:
        """Return an id or key of a ticket."""
        find = self._places.get(name)
        return reference(find(tree)) if find else ""

    def texts(self, name: str, tree: Any) -> tuple[str, ...]:
        """Return one text or a list of them, without empty ones."""
        find = self._places.get(name)
        value = find(tree) if find else None
        values = value if isinstance(value, list) else [value]
        texts = (scalar_text(value, LONGEST_NAME).strip() for value in values[:MOST_NAMES])
        return tuple(filter(None, texts))

    def digest(self, name: str, tree: Any) -> str:
        """Return a digest of the value, by which a change of it is noticed."""
        find = self._places.get(name)
        value = find(tree) if find else None
        return "" if value is None else digest(value)

    def deciders(self, tree: Any) -> dict[str, Any]:
        """Return the fields of a `Ticket` about who decided, when and why."""
        return {
            "decided_by": self.text("decided_by", tree),
            "decided_at": self.text("decided_at", tree),
            "comment": self.text("comment", tree, LONGEST_TEXT),
            "deciders": self.texts("deciders", tree),
            "decider_groups": self.texts("decider_groups", tree),
        }


class TicketReader:
    """Reads a ticket out of an answer's tree."""

    def __init__(self, declaration: RestDeclaration) -> None:
        places = declaration.ticket
        named = places.model_dump()
        named["key"] = places.key or places.id
        named["fulfilment"] = places.fulfilment or places.status
        named["carries"] = declaration.find.match if declaration.find else None
        self._places = FieldPaths(named)
        self._declaration = declaration
        self._base_url = URL(declaration.base_url)

    def read(self, tree: Any, ticket_id: str = "") -> Ticket | None:
        """Return the ticket; None if no id is given and the tree has none either."""
        places = self._places
        ticket_id = ticket_id or places.reference("id", tree)
        if not ticket_id:
            return None
        status = places.text("status", tree)
        return Ticket(
            id=ticket_id,
            key=places.reference("key", tree) or ticket_id,
            url=self._url(tree),
            native_status=status,
            correlation_values=places.texts("carries", tree),
            outcome=self._declaration.outcome(status),
            fulfilment=self._declaration.fulfilled(places.text("fulfilment", tree)),
            created_at=places.text("created", tree),
            key_fields=places.digest("key_fields", tree),
            **places.deciders(tree),
        )

    def _url(self, tree: Any) -> str:
        """Return the ticket's web page; only http and https, because it becomes a link."""
        written = self._places.text("url", tree, LONGEST_TEXT)
        if not written:
            return ""
        try:
            url = self._base_url.join(URL(written))
        except ValueError:
            return ""
        return str(url) if url.scheme in {"http", "https"} and url.host else ""


class ApprovalReader:
    """Reads one approval as a copy of its ticket with the approval's outcome."""

    def __init__(self, declared: ApprovalsCall, declaration: RestDeclaration) -> None:
        named = ("status", "decided_by", "decided_at", "comment", "deciders", "decider_groups")
        self._places = FieldPaths({name: getattr(declared, name) for name in named})
        self._word = declaration.status_word
        self._outcomes = {
            self._word(status): outcome for status, outcome in declared.decision.items()
        }

    def read(self, tree: Any, ticket: Ticket) -> Ticket:
        """Return the ticket with the outcome and the decider of this approval."""
        status = self._places.text("status", tree)
        return Ticket(
            id=ticket.id,
            key=ticket.key,
            native_status=status,
            outcome=self._outcomes.get(self._word(status)),
            **self._places.deciders(tree),
        )
