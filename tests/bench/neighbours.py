"""A desk and a witboost in one cheap process: every ticket is approved when it is first read.

Prints its port, ends with its parent's pipe, and then prints what it counted as JSON: tickets,
correlation ids with more than one, final statuses, hooks with more than one.
"""

import asyncio
import json
import sys
from collections import Counter
from urllib.parse import unquote

import uvloop

from tests.bench.wire import Messages

APPROVER = "bench@desk.example.com"

_MANY = b"/api/tickets?ids="
_HEAD = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Neighbours:
    """Answers by first line; counts what a verdict needs."""

    def __init__(self) -> None:
        self.tickets: Counter[str] = Counter()
        self.statuses: Counter[bytes] = Counter()
        self.wrong = 0

    def take(self, connection: Messages, head: bytes, body: bytes) -> None:
        """Answer one call."""
        method, path, _ = head.split(b" ", 2)
        code, answer = 200, b"{}"
        if path.startswith(b"/api/actionHandler/"):
            self.statuses[path] += 1
            self.wrong += not body.startswith(b'{"status":"OK"')
        elif path == b"/oauth/token":
            answer = b'{"access_token":"bench-token","token_type":"Bearer","expires_in":3600}'
        elif method == b"POST":
            correlation_id = json.loads(body)["correlation_id"]
            self.tickets[correlation_id] += 1
            code, answer = 201, _ticket(correlation_id, "new")
        elif path.startswith(_MANY):
            ids = unquote(path[len(_MANY) :].decode()).split(",")
            tickets = [_shown(number, "approved") for number in ids]
            answer = json.dumps({"tickets": tickets}).encode()
        else:
            answer = _ticket(path.rpartition(b"/")[2].decode(), "approved")
        connection.send(_HEAD % (code, len(answer)) + answer)


def _ticket(number: str, status: str) -> bytes:
    return json.dumps({"ticket": _shown(number, status)}).encode()


def _shown(number: str, status: str) -> dict[str, str]:
    # the correlation id serves as id, so that nothing has to be looked up here; the address tells
    # the approver from the people who get access, else a guard would hold the request
    return {"id": number, "key": number, "status": status, "decided_by_email": APPROVER}


async def main() -> None:
    """Serve until standard input closes."""
    neighbours = Neighbours()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Messages(neighbours.take), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "count":
            sys.stdout.write(json.dumps(_counted(neighbours)) + "\n")
            sys.stdout.flush()
    server.close()


def _counted(neighbours: Neighbours) -> dict[str, int]:
    return {
        "tickets": len(neighbours.tickets),
        "doubled_tickets": sum(count > 1 for count in neighbours.tickets.values()),
        "statuses": len(neighbours.statuses),
        "doubled_statuses": sum(count > 1 for count in neighbours.statuses.values()),
        "wrong": neighbours.wrong,
    }


if __name__ == "__main__":
    uvloop.run(main())
