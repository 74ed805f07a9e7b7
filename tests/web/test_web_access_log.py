"""The access log: one JSON line per call, with ids, and without anything secret."""

import logging
import uuid

import pytest
from yarl import URL

from tests.web.conftest import (
    OPERATOR_KEY,
    WITBOOST_KEY,
    Collected,
    Site,
    Starts,
)


async def test_one_line_per_call_says_who_what_and_how_it_ended(
    site: Site, logged: Collected
) -> None:
    request_id = str(uuid.uuid4())
    answer = await site.submit(headers={"X-Request-ID": request_id})
    (line,) = logged.of("proxy.access")
    assert line["milliseconds"] > 0
    assert {name: line[name] for name in line if name not in {"time", "milliseconds"}} == {
        "level": "info",
        "logger": "proxy.access",
        "message": "POST /approval-requests 202",
        "correlation_id": answer.taken,
        "request_id": request_id,
        "method": "POST",
        "path": "/approval-requests",
        "status": 202,
        "remote": "127.0.0.1",
        "client": "witboost",
    }
    assert answer.headers["X-Request-ID"] == request_id


async def test_a_refusal_says_why(site: Site, logged: Collected) -> None:
    await site.submit(body=b"{}")
    (line,) = logged.of("proxy.access")
    assert line["status"] == 400
    assert "respondToUrl is missing" in line["error"]
    assert line["client"] == "witboost"


@pytest.mark.parametrize("given", ["x" * 129, "a b", "", "a;b", "é"])
async def test_an_unusable_request_id_is_replaced(
    site: Site, logged: Collected, given: str
) -> None:
    answer = await site.call("GET", "/api/status", headers={"X-Request-ID": given})
    replaced = answer.headers["X-Request-ID"]
    assert str(uuid.UUID(replaced)) == replaced
    assert logged.of("proxy.access")[0]["request_id"] == replaced
    kept = await site.call("GET", "/api/status", headers={"X-Request-ID": "a.B-9_"})
    assert kept.headers["X-Request-ID"] == "a.B-9_"


async def test_ids_do_not_leak_into_the_next_call_of_a_connection(
    site: Site, logged: Collected
) -> None:
    await site.submit()
    await site.call("GET", "/api/status", key=OPERATOR_KEY)
    first, second = logged.of("proxy.access")
    assert "correlation_id" in first
    assert "correlation_id" not in second


async def test_keys_bodies_and_queries_never_reach_the_log(site: Site, logged: Collected) -> None:
    canary = "canary-4711"
    await site.submit(key=canary)
    await site.submit(key=None, headers={"Authorization": f"Bearer {canary}"})
    await site.submit(fields={"motivation": canary})
    await site.submit(url=f"https://user:{canary}@witboost.example.com/api/actionHandler/1")
    await site.submit(url=f"https://evil.example.com/{canary}")
    await site.submit(headers={"Content-Type": canary})
    await site.submit(body=canary.encode())
    await site.call("GET", f"/api/requests?state={canary}&before={canary}", key=OPERATOR_KEY)
    await site.call(
        "POST", "/ticket-events/desk", data=canary, headers={"X-Desk-Signature": canary}
    )
    assert len(logged.of("proxy.access")) == 9
    assert canary.encode() not in logged.text
    assert WITBOOST_KEY.encode() not in logged.text
    assert OPERATOR_KEY.encode() not in logged.text


async def test_a_path_cannot_forge_a_line_or_flood_the_log(site: Site, logged: Collected) -> None:
    forged = site.base.join(URL("/x%0A%7B%22level%22:%22error%22%7D" + "y" * 2_000, encoded=True))
    async with site.session.get(forged) as response:
        assert response.status == 404
    (line,) = logged.of("proxy.access")
    assert line["path"].startswith('/x\n{"level":"error"}')
    assert len(line["path"]) == 200
    assert b"\n" not in logged.text


async def test_health_checks_are_quiet(site: Site, logged: Collected) -> None:
    logging.getLogger("proxy").setLevel(logging.INFO)
    for path in ("/livez", "/readyz", "/metrics"):
        await site.call("GET", path)
    assert logged.of("proxy.access") == []


async def test_the_access_log_can_be_switched_off(start: Starts, logged: Collected) -> None:
    site = await start(access_log=False)
    assert (await site.submit()).status == 202
    assert logged.of("proxy.access") == []
