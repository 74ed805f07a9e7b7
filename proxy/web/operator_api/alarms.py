"""The last alarms, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from proxy.observability.alarms import AlarmRecord
from proxy.web.auth import Clients
from proxy.web.http.middleware import CLIENT
from proxy.web.http.responses import private_answer
from proxy.web.operator_api.views import alarm_view


class Board(Protocol):
    """Where alarms of all processes are."""

    async def read(self) -> Sequence[AlarmRecord]:
        """Return the alarms, the last first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmApi:
    """Answers operators."""

    board: Board
    operators: Clients

    async def list(self, request: web.Request) -> web.Response:
        """Say what sounded last, of each kind and destination."""
        request[CLIENT] = self.operators.permitted(request.headers, "read").name
        return private_answer({"alarms": [alarm_view(it) for it in await self.board.read()]})
