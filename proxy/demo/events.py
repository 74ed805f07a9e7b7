"""Events as the desk pushes them: signed, sent once, and therefore only a hint."""

import asyncio
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from proxy.demo.faults import Faults, Kind
from proxy.demo.journal import Journal
from proxy.domain.clock import Clock

FAULTS: frozenset[Kind] = frozenset({"slow", "hang", "duplicate", "lose"})
TIMEOUT = aiohttp.ClientTimeout(total=5)


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


class Events:
    """Delivers events in the background to `target`, if one is set; one attempt each."""

    def __init__(
        self, *, target: str | None, secret: str, journal: Journal, faults: Faults, clock: Clock
    ) -> None:
        self.target = target
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
        shown = {name: ticket[name] for name in ("id", "key", "status")}
        event_id = str(uuid.uuid4())
        body = orjson.dumps({"event": event, "id": event_id, "ticket": shown})
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
            result = await self._post(client, target, event_id, body)
            self._journal.record("event", event=event, id=event_id, ticket=ticket["id"], **result)

    async def _post(
        self, client: aiohttp.ClientSession, target: str, event_id: str, body: bytes
    ) -> dict[str, Any]:
        seconds = self._clock.now() // 1000
        headers = signed_headers(self._secret, body, event_id=event_id, seconds=seconds)
        try:
            async with client.post(
                target, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                return {"answer": response.status}
        except (aiohttp.ClientError, TimeoutError) as error:
            return {"answer": None, "error": type(error).__name__}
