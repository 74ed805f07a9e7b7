"""Events of the ticket systems: signed, and sent only once, so that one may be lost."""

import asyncio
import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import orjson

from proxy.simulators.faults import Kind
from proxy.simulators.server import Simulator

FAULTS: frozenset[Kind] = frozenset({"slow", "hang", "duplicate", "lose"})
TIMEOUT = aiohttp.ClientTimeout(total=5)

Payload = tuple[str, Mapping[str, str], bytes]
"""The id, headers and body of an event."""

PayloadWriter = Callable[[str, str, Mapping[str, Any], int], Payload]


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


def desk_payload(secret: str, event: str, ticket: Mapping[str, Any], moment: int) -> Payload:
    """Return an event as the desk writes it."""
    excerpt = {name: ticket[name] for name in ("id", "key", "status")}
    event_id = str(uuid.uuid4())
    body = orjson.dumps({"event": event, "id": event_id, "ticket": excerpt})
    headers = signed_headers(secret, body, event_id=event_id, seconds=moment // 1000)
    return event_id, headers, body


class Events:
    """Delivers events in the background to `target`, if one is set, with one attempt each.

    `write` makes the payload of an event from secret, event, ticket and time (milliseconds).
    """

    def __init__(
        self, simulator: Simulator, *, target: str | None, secret: str, write: PayloadWriter
    ) -> None:
        self.target = target
        self._simulator = simulator
        self._secret = secret
        self._write = write
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, event: str, ticket: Mapping[str, Any]) -> None:
        """Start a delivery; the journal records its result."""
        if self.target is None:
            return
        delivery = asyncio.create_task(self._deliver(self.target, event, ticket))
        self._under_way.add(delivery)
        delivery.add_done_callback(self._under_way.discard)

    async def sent(self) -> None:
        """Wait until every delivery has ended, also those that a fault delays."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def close(self) -> None:
        """Cancel the deliveries under way."""
        for delivery in self._under_way:
            delivery.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _deliver(self, target: str, event: str, ticket: Mapping[str, Any]) -> None:
        simulator, ticket_id = self._simulator, ticket["id"]
        event_id, headers, body = self._write(self._secret, event, ticket, simulator.clock.now())
        copies = 1
        for active in simulator.faults.trigger("event", FAULTS, subjects=(ticket_id,)):
            kind = active.fault.kind
            simulator.journal.record(
                "fault", operation="event", fault=kind, after_effect=False, ticket=ticket_id
            )
            if kind == "lose":
                return
            if kind == "duplicate":
                copies += 1
            else:
                await active.hold()
        for _ in range(copies):
            result = await self._post(target, headers, body)
            simulator.journal.record("event", event=event, id=event_id, ticket=ticket_id, **result)

    async def _post(self, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        try:
            async with self._simulator.client.post(
                target, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                return {"answer": response.status}
        except (aiohttp.ClientError, TimeoutError) as error:
            return {"answer": None, "error": type(error).__name__}
