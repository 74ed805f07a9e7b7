"""Events as the desk pushes them: signed, sent once, and therefore only a hint."""

import asyncio
import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import orjson

from proxy.domain.clock import Clock
from proxy.simulators.faults import Faults, Kind
from proxy.simulators.journal import Journal

FAULTS: frozenset[Kind] = frozenset({"slow", "hang", "duplicate", "lose"})
TIMEOUT = aiohttp.ClientTimeout(total=5)


Letter = tuple[str, Mapping[str, str], bytes]
"""Id, headers and body of an event."""

Write = Callable[[str, str, Mapping[str, Any], int], Letter]


def signed_headers(secret: str, body: bytes, *, event_id: str, seconds: int) -> dict[str, str]:
    """Return the headers of an event: HMAC-SHA256 over timestamp, a dot and the raw body.

    `seconds` is the time of sending, since the epoch.
    """
    mac = hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Desk-Event-Id": event_id,
        "X-Desk-Timestamp": str(seconds),
        "X-Desk-Signature": f"sha256={mac}",
    }


def desk_letter(secret: str, event: str, ticket: Mapping[str, Any], moment: int) -> Letter:
    """Return an event as the desk writes it."""
    shown = {name: ticket[name] for name in ("id", "key", "status")}
    event_id = str(uuid.uuid4())
    body = orjson.dumps({"event": event, "id": event_id, "ticket": shown})
    headers = signed_headers(secret, body, event_id=event_id, seconds=moment // 1000)
    return event_id, headers, body


class Events:
    """Delivers events in the background to `target`, if one is set; one attempt each.

    `write` makes headers and body of an event at a moment (milliseconds since the epoch).
    """

    def __init__(
        self,
        *,
        target: str | None,
        secret: str,
        journal: Journal,
        faults: Faults,
        clock: Clock,
        write: Write = desk_letter,
    ) -> None:
        self.target = target
        self._write = write
        self._secret = secret
        self._journal = journal
        self._faults = faults
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, client: aiohttp.ClientSession, event: str, ticket: Mapping[str, Any]) -> None:
        """Start a delivery; what happened to it is in the journal."""
        if self.target is None:
            return
        delivery = asyncio.create_task(self._deliver(client, self.target, event, ticket))
        self._under_way.add(delivery)
        delivery.add_done_callback(self._under_way.discard)

    async def sent(self) -> None:
        """Wait until no delivery is under way; one that a fault holds back counts as under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def close(self) -> None:
        """Give up what is under way."""
        for delivery in self._under_way:
            delivery.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _deliver(
        self, client: aiohttp.ClientSession, target: str, event: str, ticket: Mapping[str, Any]
    ) -> None:
        event_id, headers, body = self._write(self._secret, event, ticket, self._clock.now())
        copies = 1
        for switch in self._faults.strikes("event", FAULTS, subjects=(ticket["id"],)):
            kind = switch.fault.kind
            self._journal.record(
                "fault", operation="event", fault=kind, after_effect=False, ticket=ticket["id"]
            )
            if kind == "lose":
                return
            if kind == "duplicate":
                copies += 1
            else:
                await switch.held()
        for _ in range(copies):
            result = await self._post(client, target, headers, body)
            self._journal.record("event", event=event, id=event_id, ticket=ticket["id"], **result)

    async def _post(
        self, client: aiohttp.ClientSession, target: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        try:
            async with client.post(
                target, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                return {"answer": response.status}
        except (aiohttp.ClientError, TimeoutError) as error:
            return {"answer": None, "error": type(error).__name__}
