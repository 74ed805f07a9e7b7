"""The load generator, a process of its own: closed loop or open loop, raw HTTP over loopback.

    python -m tests.bench.load PORT SECONDS closed CONNECTIONS CALLBACK_BASE
    python -m tests.bench.load PORT SECONDS open RATE CALLBACK_BASE

Prints one JSON object: calls answered, answers other than 202, seconds, calls per second and the
latencies p50, p99 and p99.9 in milliseconds. In the open loop a latency counts from the moment at
which the call was due, so a server that falls behind cannot hide it (coordinated omission).
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable

import uvloop

from tests.bench.wire import Messages
from tests.support.rig import API_KEY

_FIELDS = {
    "identities": ["john.doe_company.com", "jane.roe_company.com"],
    "verb": "grant",
    "motivation": "I need the finance figures of this quarter for the yearly report. " * 3,
    "domain": "finance",
    "role": "data_engineer",
}


class Load:
    """Sends calls, each with a URL and a request id of its own, and measures the answers."""

    def __init__(self, port: int, seconds: float, callbacks: str) -> None:
        self.port = port
        self.until = time.monotonic() + seconds
        self.latencies: list[float] = []
        self.refused = 0
        run = uuid.uuid4().hex
        url = f"{callbacks}/api/actionHandler/{run}-%08d"
        body = json.dumps({"respondToUrl": url, "fields": _FIELDS})
        self._call = (
            "POST /approval-requests HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"X-API-Key: {API_KEY}\r\nX-Request-ID: {uuid.uuid4()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body) + 4}\r\n\r\n{body}"
        ).encode()
        self._number = 0

    def next_call(self) -> bytes:
        """Return the bytes of a call that was never sent before."""
        self._number += 1
        return self._call % self._number

    def answered(self, head: bytes, since: float) -> None:
        """Note one answer."""
        self.latencies.append(time.monotonic() - since)
        self.refused += not head.startswith(b"HTTP/1.1 202")

    async def connect(self, take: Callable[[bytes], None]) -> Messages:
        """Open one connection."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(
            lambda: Messages(lambda _connection, head, _body: take(head)), "127.0.0.1", self.port
        )
        return protocol

    async def closed(self, connections: int) -> None:
        """Keep every connection busy: the next call leaves when the last one is answered."""
        await asyncio.gather(*[self._lane() for _ in range(connections)])

    async def _lane(self) -> None:
        done = asyncio.get_running_loop().create_future()
        since = time.monotonic()

        def take(head: bytes) -> None:
            nonlocal since
            self.answered(head, since)
            since = time.monotonic()
            if since < self.until:
                connection.send(self.next_call())
            else:
                done.set_result(None)

        connection = await self.connect(take)
        since = time.monotonic()
        connection.send(self.next_call())
        await done
        assert connection.transport is not None
        connection.transport.close()

    async def open(self, rate: int) -> None:
        """Send calls at fixed times whatever the answers do, each over a free connection."""
        idle: list[Messages] = []
        due_of: dict[int, float] = {}
        pending = 0
        begin = time.monotonic()
        number = 0
        while (due := begin + number / rate) < self.until:
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            number += 1
            if idle:
                connection = idle.pop()
            else:
                slot: list[Messages] = []

                def take(head: bytes, slot: list[Messages] = slot) -> None:
                    nonlocal pending
                    self.answered(head, due_of.pop(id(slot[0])))
                    pending -= 1
                    idle.append(slot[0])

                connection = await self.connect(take)
                slot.append(connection)
            due_of[id(connection)] = due
            pending += 1
            connection.send(self.next_call())
        while pending:
            await asyncio.sleep(0.01)


def _at(sorted_values: list[float], part: float) -> float:
    """Return a quantile in milliseconds."""
    last = len(sorted_values) - 1
    return round(sorted_values[min(int(last * part), last)] * 1_000, 3)


async def main() -> None:
    """Run what the command line asks for."""
    port, seconds, shape, size, callbacks = sys.argv[1:]
    load = Load(int(port), float(seconds), callbacks)
    began = time.monotonic()
    await (load.closed(int(size)) if shape == "closed" else load.open(int(size)))
    took = time.monotonic() - began
    values = sorted(load.latencies)
    result = {
        "calls": len(values),
        "refused": load.refused,
        "seconds": round(took, 3),
        "per_second": round(len(values) / took, 1),
        "p50": _at(values, 0.5),
        "p99": _at(values, 0.99),
        "p999": _at(values, 0.999),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    uvloop.run(main())
