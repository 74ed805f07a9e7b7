"""JSON over HTTP below one base URL: how adapters that are code ask their system."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import orjson
from yarl import URL

from proxy.errors import TemporaryError
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, raise_for_status


class JsonApi:
    """One API; `name` is the ticket system's, `headers` go with every call."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        http: Destination,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._base_url = base_url
        self._http = http
        self._headers = {"Accept": "application/json", **(headers or {})}

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Any:
        """Return the parsed answer, None for an empty one; `path` is percent-encoded.

        Raises what `check` makes of any status but a success.
        """
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = URL(self._base_url + path, encoded=True).with_query(query)
        call = Call(method, str(url), headers, orjson.dumps(body) if body is not None else None)
        answer = await self._http.send(call, repeatable=repeatable)
        raise_for_status(answer, call, system=self.name)
        return answer.json() if answer.body else None

    @asynccontextmanager
    async def bounded(self, deadline: int, what: str) -> AsyncIterator[None]:
        """Bound several calls that are one for the flow, in milliseconds altogether.

        A create that is sent later than the deadline could be looked for before it is there.

        Raises:
            TemporaryError: they took too long; whatever was sent may have had its effect.
        """
        try:
            async with asyncio.timeout(deadline / 1_000):
                yield
        except TimeoutError as error:
            raise TemporaryError(
                f"{self.name}: all calls of {what} took longer than {deadline} ms together:"
                " raise the deadline"
            ) from error

    def unreadable(self, what: str, problem: str) -> NoReturn:
        """Refuse an answer that is not what this API gives."""
        raise TemporaryError(
            f"{self.name}: the answer to {what} has {problem}: is base_url that of the API?"
        )
