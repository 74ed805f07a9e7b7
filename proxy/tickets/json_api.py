"""JSON over HTTP below one base URL: the client base of adapters that are code."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import orjson
from yarl import URL

from proxy.errors import TemporaryError
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, raise_for_status

Tree = Mapping[str, Any]
"""A JSON object in an answer."""


def nested(tree: Any, *names: str) -> Any:
    """Return the value under a path of names in a JSON tree; None if it is not there."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def objects_of(value: Any) -> list[Tree]:
    """Return the objects in a JSON list; none if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class JsonApi:
    """One API; `name` is the ticket system's, `headers` are sent with every call."""

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

        Raises as `raise_for_status` for any status but a success.
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
        """Limit several calls that are one operation for the flow, in milliseconds altogether.

        The flow looks for a lost create after the deadline; one sent later could be missed.

        Raises:
            TemporaryError: they took too long; a call that was sent may have had its effect.
        """
        try:
            async with asyncio.timeout(deadline / 1_000):
                yield
        except TimeoutError as error:
            raise TemporaryError(
                f"{self.name}: all calls of {what} took longer than {deadline} ms together:"
                " raise the deadline"
            ) from error

    def object(self, tree: Any, what: str) -> Tree:
        """Return an answer that must be a JSON object."""
        if not isinstance(tree, dict):
            self.unreadable(what, "no object")
        return tree

    def objects(self, tree: Any, name: str, what: str) -> list[Tree]:
        """Return the list of objects in an answer under this name."""
        items = nested(tree, name)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            self.unreadable(what, f"no list `{name}`")
        return items

    def unreadable(self, what: str, problem: str) -> NoReturn:
        """Raise TemporaryError for an answer that this API would not give."""
        raise TemporaryError(
            f"{self.name}: the answer to {what} has {problem}: is base_url that of the API?"
        )
