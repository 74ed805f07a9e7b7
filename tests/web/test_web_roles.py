"""Roles of operators, and keys that end."""

from typing import Any

import pytest

from proxy.errors import UnauthorizedError
from proxy.web.auth import Caller, Client, Clients, Role, hash_key
from tests.support.manual_clock import ManualClock
from tests.web.conftest import Starts

REASON = {"reason": "because"}
NEEDS: list[tuple[Role, str, str, dict[str, Any] | None]] = [
    ("read", "GET", "/api/status", None),
    ("read", "GET", "/api/requests", None),
    ("read", "GET", "/api/alarms", None),
    ("read", "GET", "/api/requests/nobody", None),
    ("read", "GET", "/api/signing-keys", None),
    ("read", "GET", "/api/requests/nobody/receipt", None),
    ("operate", "POST", "/api/requests/nobody/retry", REASON),
    ("operate", "POST", "/api/requests/nobody/release", REASON),
    ("operate", "POST", "/api/requests/nobody/reject", REASON),
    ("operate", "POST", "/api/requests/nobody/cancel", REASON),
    ("operate", "POST", "/api/requests/nobody/attach", {**REASON, "ticketKey": "T1"}),
    ("operate", "POST", "/api/bulk/cancel", {**REASON, "filter": {"state": "held"}}),
    ("operate", "POST", "/api/trials", {"system": "nowhere"}),
    ("admin", "POST", "/api/destinations/desk/pause", REASON),
    ("admin", "POST", "/api/destinations/desk/resume", REASON),
]
ROLES: tuple[Role, ...] = ("read", "operate", "admin")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_does_what_it_may_and_nothing_else(start: Starts, role: Role) -> None:
    key = "ap_of-somebody"
    caller = Caller("olga", role=role)
    site = await start(operators=Clients([Client(caller, {hash_key(key): None})]))
    for needed, method, path, body in NEEDS:
        how = {"json": body} if body else {}
        answer = await site.call(method, path, key=key, **how)
        if ROLES.index(role) < ROLES.index(needed):
            answer.refused(403, f"olga has the role {role}, and this needs {needed}")
        else:
            assert answer.status not in {401, 403}, path
            kept = (answer.status, answer.headers.get("Cache-Control"))
            assert kept[0] != 200 or kept[1] == "no-store", "a browser keeps what operators see"
        stranger = await site.call(method, path, key="ap_of-nobody", **how)
        assert stranger.status == 401


def test_a_key_is_good_until_it_ends_and_then_as_unknown_as_any(clock: ManualClock) -> None:
    end = clock.now() + 1_000
    clients = Clients(
        [Client(Caller("w", "main"), {hash_key("old"): end, hash_key("new"): None})], clock=clock
    )
    old, new = {"X-API-Key": "old"}, {"X-API-Key": "new"}
    assert clients.identify(old) == clients.identify(new) == [Caller("w", "main")]
    clock.advance(999)
    assert clients.identify(old)
    clock.advance(1)
    assert clients.identify(new)
    said = []
    for headers in (old, {"X-API-Key": "never"}, {}):
        with pytest.raises(UnauthorizedError) as caught:
            clients.identify(headers)
        said.append(str(caught.value))
    assert len(set(said)) == 1
