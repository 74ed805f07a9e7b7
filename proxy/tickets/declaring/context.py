"""The names that the templates of each operation may mention, and their values for a request."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from proxy.domain.models import ApprovalRequest
from proxy.domain.text import clean
from proxy.tickets.declaring.sanitize import plain

_REQUEST_NAMES: Final[Mapping[str, Collection[str]]] = {
    name: () for name in ApprovalRequest.__dataclass_fields__ if name != "respond_to"
}
_TICKET: Final = {"ticket": ("id",)}
NAMES: Final[Mapping[str, Mapping[str, Collection[str]]]] = {
    "create": _REQUEST_NAMES,
    "find": {"correlation_id": ()},
    "read": _TICKET,
    "read_many": {"ids": ()},
    "changes": {"since": ()},
    "approvals": _TICKET,
    "follow_ups": {"ticket": ("id", "key", "fields", "version"), "correlation_id": ()},
    "comment": {"ticket": ("id", "version"), "text": ()},
    "cancel": {"ticket": ("id", "version"), "reason": ()},
    "ping": {},
}
"""For each operation the names that its templates may mention, each with its attributes."""


def template_context(
    request: ApprovalRequest,
    text: Callable[[str], str] = clean,
    *,
    only: Collection[str] = _REQUEST_NAMES,
) -> dict[str, Any]:
    """Return the names that the templates of a new ticket may mention, with this request's values.

    Every text is passed through `text` before a template sees it, so that whatever the template
    does with lines applies to all of them. `only` are the names that the templates really mention.
    """
    return {name: plain(getattr(request, name), text) for name in only}
