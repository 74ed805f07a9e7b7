"""The operator API: listing, reading, retry and attach; and who may do it."""

from typing import Any

import pytest

from proxy.domain.events.base import GivenUp
from proxy.domain.models import State, Ticket
from proxy.store.requests import RequestStore
from tests.support.acting import decide, happen, hold
from tests.support.manual_clock import ManualClock
from tests.web.conftest import CALLBACK, OPERATOR_KEY, WITBOOST_KEY, Answered, Site

ROUTES = [
    ("GET", "/api/status"),
    ("GET", "/api/requests"),
    ("GET", "/api/requests/{id}"),
    ("POST", "/api/requests/{id}/retry"),
    ("POST", "/api/requests/{id}/attach"),
]


async def _state(store: RequestStore, correlation_id: str) -> State:
    entry = await store.load(correlation_id)
    assert entry is not None
    return entry.record.state


async def _act(site: Site, correlation_id: str, action: str, **asked: Any) -> Answered:
    path = f"/api/requests/{correlation_id}/{action}"
    return await site.call("POST", path, key=OPERATOR_KEY, json=asked)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_operators_get_in(site: Site, method: str, path: str) -> None:
    correlation_id = (await site.submit()).taken
    await hold(site.store, correlation_id)
    for key in (None, WITBOOST_KEY, "ap_wrong"):
        answer = await site.call(
            method, path.format(id=correlation_id), key=key, json={"reason": "x", "ticketKey": "y"}
        )
        answer.refused(401, "X-API-Key")
    assert await _state(site.store, correlation_id) is State.HELD


async def test_pages_show_every_request_once_also_within_one_millisecond(
    site: Site, clock: ManualClock
) -> None:
    sent = [(await site.submit()).taken for _ in range(5)]  # the clock stands still
    clock.advance(1)
    sent += [(await site.submit()).taken for _ in range(2)]
    seen: list[str] = []
    path = "/api/requests?limit=2"
    pages = 0
    while path:
        page = (await site.call("GET", path, key=OPERATOR_KEY)).json
        seen += [row["correlationId"] for row in page["requests"]]
        path = f"/api/requests?limit=2&before={page['next']}" if "next" in page else ""
        pages += 1
    assert len(seen) == len(set(seen)), "nothing twice"
    assert set(seen) == set(sent)
    assert set(seen[:2]) == set(sent[5:]), "newest first"
    assert pages == 4


async def test_a_list_can_be_limited_to_states(site: Site) -> None:
    first, second = [(await site.submit()).taken for _ in range(2)]
    await hold(site.store, first)
    answer = await site.call("GET", "/api/requests?state=held,dead", key=OPERATOR_KEY)
    (row,) = answer.json["requests"]
    assert row["correlationId"] == first
    assert (row["status"], row["code"]) == ("held", "look")
    answer = await site.call("GET", "/api/requests?state=received", key=OPERATOR_KEY)
    assert [row["correlationId"] for row in answer.json["requests"]] == [second]


@pytest.mark.parametrize(
    ("query", "naming"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=%C2%B2", "limit"),
        ("state=held,lost", "state: "),
        ("before=yesterday", "before"),
    ],
)
async def test_a_wrong_query_is_named(site: Site, query: str, naming: str) -> None:
    (await site.call("GET", f"/api/requests?{query}", key=OPERATOR_KEY)).refused(400, naming)


async def test_one_request_is_shown_with_everything(site: Site) -> None:
    correlation_id = (await site.submit(hook="5", fields={"verb": "grant", "x": [1]})).taken
    await hold(site.store, correlation_id, in_doubt=True)
    shown = (await site.call("GET", f"/api/requests/{correlation_id}", key=OPERATOR_KEY)).json
    assert shown["status"] == "held"
    assert shown["returnsTo"] == "opening"
    assert shown["reason"] == "A person must look."
    assert shown["hookCall"] == {
        "respondToUrl": CALLBACK + "5",
        "fields": {"verb": "grant", "x": [1]},
    }
    assert [line["event"] for line in shown["history"]] == ["Admitted", "Sending", "Held"]
    assert shown["history"][0]["at"] == "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize("action", ["", "/retry", "/attach"])
async def test_an_unknown_request_is_a_404(site: Site, action: str) -> None:
    asked = {"reason": "x", "ticketKey": "T1"}
    method = "POST" if action else "GET"
    path = f"/api/requests/ar{'0' * 28}{action}"
    (await site.call(method, path, key=OPERATOR_KEY, json=asked)).refused(404, "no request")


async def test_retry_sends_back_to_work_and_says_who_and_why(site: Site) -> None:
    correlation_id = (await site.submit()).taken
    await hold(site.store, correlation_id)
    answer = await _act(site, correlation_id, "retry", reason="the desk is back")
    assert (answer.status, answer.json["status"]) == (200, "received")
    last = answer.json["history"][-1]
    assert (last["by"], last["reason"]) == ("olga", "the desk is back")
    (await _act(site, correlation_id, "retry", reason="again")).refused(400, "received")


async def test_a_doubt_that_nothing_can_settle_needs_a_person_to_vouch(site: Site) -> None:
    correlation_id = (await site.submit()).taken
    await hold(site.store, correlation_id, in_doubt=True)
    refused = await _act(site, correlation_id, "retry", reason="try")
    refused.refused(400, "noTicketExists")
    assert await _state(site.store, correlation_id) is State.HELD
    answer = await _act(site, correlation_id, "retry", reason="I looked", noTicketExists=True)
    assert answer.json["status"] == "received"


async def test_attach_makes_a_request_follow_a_ticket_that_exists(site: Site) -> None:
    correlation_id = (await site.submit()).taken
    await hold(site.store, correlation_id, in_doubt=True)
    missing = await _act(site, correlation_id, "attach", ticketKey="T7", reason="found it")
    missing.refused(404, "T7")
    site.desk.tickets["T7"] = Ticket(id="T7", key="INC7", url="https://desk.example.com/T7")
    answer = await _act(site, correlation_id, "attach", ticketKey="T7", reason="found it")
    assert answer.json["status"] == "pending"
    assert answer.json["ticketKey"] == "INC7"


@pytest.mark.parametrize("key", ["T7\nT8", "T\x007", "x" * 256])
async def test_what_is_no_key_of_a_ticket_is_not_looked_for(site: Site, key: str) -> None:
    correlation_id = (await site.submit()).taken
    await hold(site.store, correlation_id, in_doubt=True)
    site.desk.tickets[key] = Ticket(id=key, key=key)
    answer = await _act(site, correlation_id, "attach", ticketKey=key, reason="found it")
    answer.refused(400, "ticketKey")
    assert await _state(site.store, correlation_id) is State.HELD


async def test_attach_is_refused_after_a_decision(site: Site) -> None:
    correlation_id = (await site.submit()).taken
    await decide(site.store, correlation_id)
    answer = await _act(site, correlation_id, "attach", ticketKey="T7", reason="late")
    answer.refused(400, "decision")


async def test_retry_is_refused_once_a_newer_request_has_the_url(site: Site) -> None:
    old = (await site.submit(hook="1", fields={"a": 1})).taken
    await decide(site.store, old)
    await hold(site.store, old)
    await happen(site.store, old, GivenUp(at=9, code="gone", reason="gave up"))
    new = (await site.submit(hook="1", fields={"a": 2})).taken
    (await _act(site, old, "retry", reason="x")).refused(400, new)


@pytest.mark.parametrize(
    ("asked", "naming"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"{}", "reason"),
        (b'{"reason": " "}', "reason"),
        (b'{"reason": 1}', "reason"),
        (b'{"reason": "%s"}' % (b"x" * 501), "reason"),
        (b'{"reason": "x", "noTicketExists": "yes"}', "noTicketExists"),
        (b" " * 20_000, "longer than"),
    ],
)
async def test_what_an_operator_sends_is_checked(site: Site, asked: bytes, naming: str) -> None:
    correlation_id = (await site.submit()).taken
    await hold(site.store, correlation_id)
    json = {"Content-Type": "application/json"}
    path = f"/api/requests/{correlation_id}/retry"
    answer = await site.call("POST", path, key=OPERATOR_KEY, data=asked, headers=json)
    answer.refused(400, naming)
    plain = {"Content-Type": "text/plain"}
    body = b'{"reason": "x"}'
    answer = await site.call("POST", path, key=OPERATOR_KEY, data=body, headers=plain)
    answer.refused(400, "Content-Type")
    assert await _state(site.store, correlation_id) is State.HELD


async def test_status_shows_open_requests_by_instance_and_system(site: Site) -> None:
    await site.submit()
    status = (await site.call("GET", "/api/status", key=OPERATOR_KEY)).json
    assert status["open"] == [{"instance": "main", "system": "desk", "requests": 1}]
    assert set(status["requests"]) == set(State)
    assert status["paused"] == []
