"""A client of a simulator in another process: its journal, its faults and its outages."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import aiohttp
import orjson
from yarl import URL

from proxy.simulators.journal import Entry

_LONGEST_LOOK: Final = 5.0
_PAUSE: Final = 0.05
"""Seconds between two polls of a state that sends no notification, such as a closed port."""

_DOWN_WITHIN: Final = 5.0

Result = TypeVar("Result")


async def until(poll: Callable[[], Awaitable[Result]], *, within: float) -> Result:
    """Poll until the result is true, and return it.

    Raises:
        TimeoutError: there was no true result within so many seconds.
    """
    async with asyncio.timeout(within):
        while not (result := await poll()):  # noqa: ASYNC110 - without a notification to await
            await asyncio.sleep(_PAUSE)
    return result


class SimulatorClient:
    """Follows one simulator over HTTP; `control` is the path prefix of its journal and faults.

    Attributes:
        entries: the journal from its beginning, as far as it was read.
    """

    def __init__(self, name: str, url: str, http: aiohttp.ClientSession, control: str = "") -> None:
        self.name = name
        self.url = url
        self.entries: list[Entry] = []
        self._http = http
        self._control = f"{url}{control}"

    async def catch_up(self, *, wait: float = 0.0) -> None:
        """Read new entries, waiting some seconds for one; none while the simulator is down."""
        query = {"after": str(len(self.entries)), "wait": f"{wait:.3f}"}
        try:
            async with self._http.get(f"{self._control}/journal", params=query) as answer:
                self.entries += orjson.loads(await answer.read())["entries"]
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            await asyncio.sleep(min(wait, _PAUSE))

    async def next_of(self, kind: str, *, within: float, **fields: Any) -> Entry:
        """Return the first entry of a kind whose fields have these values, waiting for it.

        Raises:
            TimeoutError: there was none within so many seconds.
        """
        deadline = time.monotonic() + within
        seen = 0
        while True:
            for entry in self.entries[seen:]:
                if entry["kind"] == kind and fields.items() <= entry.items():
                    return entry
            seen = len(self.entries)
            left = deadline - time.monotonic()
            if left <= 0:
                values = " ".join(f"{name}={value}" for name, value in fields.items())
                raise TimeoutError(
                    f"the journal of {self.name} has no {kind!r} with {values} after {within:g} s"
                )
            await self.catch_up(wait=min(left, _LONGEST_LOOK))

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send a request as a person does, and return the JSON of the answer, if it has any.

        Raises:
            aiohttp.ClientError: the simulator refused it, or cannot be reached.
        """
        async with self._http.post(f"{self.url}{path}", json=body) as answer:
            answer.raise_for_status()
            return orjson.loads(await answer.read() or b"null")

    async def switch_on(self, operation: str, kind: str, **options: Any) -> None:
        """Switch a fault on; see `Fault`."""
        body = {"operation": operation, "kind": kind, **options}
        async with self._http.post(f"{self._control}/faults", json=body) as answer:
            answer.raise_for_status()

    async def switch_off(self) -> None:
        """Switch all faults off."""
        async with self._http.delete(f"{self._control}/faults") as answer:
            answer.raise_for_status()

    async def go_down(self, seconds: float) -> None:
        """Close its port for some seconds; return when connections are refused."""
        await self.post(f"{self._control.removeprefix(self.url)}/outage", {"seconds": seconds})
        await until(self._refuses, within=_DOWN_WITHIN)

    async def _refuses(self) -> bool:
        address = URL(self.url)
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except OSError:
            return True
        writer.close()
        return False
