"""The ticket system of a route that opens no tickets, because it decides at once."""

from typing import Any

from proxy.errors import PermanentError


class NoTickets:
    """A null object for such a route: every call is refused with the reason.

    The flow never calls it; an operator's action may lead to it.
    """

    name = ""
    deadline = settle = 0
    finds = idempotent = False

    def __init__(self, route: str) -> None:
        self._route = route

    async def _refuse(self, *_: Any, **__: Any) -> Any:
        raise PermanentError(
            f"route {self._route} has no ticket system; `requests reroute` chooses the route again"
        )

    find = open = fetch = ping = _refuse
