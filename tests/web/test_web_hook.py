"""The hook API: what is taken, what is refused, and what each answer says."""

import asyncio
import uuid
from typing import Any

import orjson
import pytest

from proxy.audit.denied_calls import DeniedCalls
from proxy.domain.models import Decision, State
from proxy.observability.metrics import Metrics
from proxy.store.audit_streams import AuditStreams
from proxy.store.pauses import PauseStore
from proxy.store.requests import RequestStore
from proxy.web.auth import Clients
from proxy.web.backpressure import BackpressurePolicy
from proxy.web.context import Limits
from tests.support.acting import set_state
from tests.web.conftest import (
    CALLBACK,
    OPERATOR_KEY,
    OTHER_KEY,
    SECOND_KEY,
    WITBOOST_KEY,
    Collected,
    Site,
    Starts,
)


@pytest.mark.parametrize("path", ["/", "/approval-requests", "/hooks/witboost"])
async def test_a_hook_call_is_stored_and_answered_on_every_path(start: Starts, path: str) -> None:
    site = await start(hook_path="/hooks/witboost")
    answer = await site.submit(path=path, hook="7")
    entry = await site.store.load(answer.taken)
    assert entry is not None
    assert entry.record.state is State.RECEIVED
    assert (entry.record.instance, entry.record.client) == ("main", "witboost")
    assert orjson.loads(entry.payload)["respondToUrl"] == CALLBACK + "7"
    assert answer.headers["Content-Type"] == "application/json"


async def test_status_url_comes_from_the_settings_and_not_from_the_host_header(site: Site) -> None:
    answer = await site.submit(headers={"Host": "evil.example.com"})
    status_url = answer.json["hookInfo"]["statusUrl"]
    assert status_url == f"https://approval.example.com/base/approval-requests/{answer.taken}"


async def test_a_repeat_gets_the_same_answer_and_stores_nothing(site: Site) -> None:
    first = await site.submit(hook="1", fields={"a": 1, "b": [2]})
    again = await site.submit(hook="1", fields={"b": [2], "a": 1})
    assert again.body == first.body
    assert sum((await site.store.counts()).values()) == 1


async def test_other_content_is_refused_while_the_url_is_open_and_taken_afterwards(
    site: Site,
) -> None:
    first = await site.submit(hook="1", fields={"a": 1})
    other = await site.submit(hook="1", fields={"a": 2})
    other.refused(400, "respondToUrl")
    assert first.taken in other.json["detail"]
    await set_state(site.store, first.taken, State.DONE, Decision.APPROVED)
    again = await site.submit(hook="1", fields={"a": 1})
    assert again.taken == first.taken, "the same content has the same answer, at its end as well"
    later = await site.submit(hook="1", fields={"a": 2})
    assert later.taken != first.taken
    back = await site.submit(hook="1", fields={"a": 1})
    back.refused(400, later.taken)  # the newest counts, and it is open


async def test_a_url_is_one_however_it_is_spelt(site: Site) -> None:
    odd = CALLBACK.replace("https://witboost", "HTTPS://WITBOOST").replace("/api/", ":443/api/./")
    first = await site.submit(url=CALLBACK + "1", fields={"a": 1})
    assert (await site.submit(url=odd + "1", fields={"a": 1})).taken == first.taken
    (await site.submit(url=odd + "1", fields={"a": 2})).refused(400, first.taken)


async def test_a_used_url_is_refused_where_the_settings_say_so(start: Starts) -> None:
    site = await start(reuse_after_final=False)
    first = await site.submit(hook="1", fields={"a": 1})
    await set_state(site.store, first.taken, State.DONE, Decision.APPROVED)
    (await site.submit(hook="1", fields={"a": 2})).refused(400, "respondToUrl")


_GOOD: dict[str, Any] = {"respondToUrl": CALLBACK + "1", "fields": {}}


@pytest.mark.parametrize(
    ("changes", "naming"),
    [
        ({"body": b"not json"}, "body"),
        ({"body": b""}, "body"),
        ({"body": b"[]"}, "body"),
        ({"body": b'{"respondToUrl": "%s1", "fields": {"n": NaN}}' % CALLBACK.encode()}, "body"),
        ({"body": b"\xff\xfe"}, "body"),
        ({"body": {"fields": {}}}, "respondToUrl"),
        ({"body": _GOOD | {"respondToUrl": 1}}, "respondToUrl"),
        ({"body": {"respondToUrl": CALLBACK + "1"}}, "fields"),
        ({"body": _GOOD | {"fields": []}}, "fields"),
        ({"body": b'{"fields":' + b'{"a":' * 40 + b"1" + b"}" * 41}, "nested deeper than 32"),
        ({"body": b"[" * 100_000}, "body"),
        ({"body": b'{"respondToUrl": "%s"}' % (b"x" * 262_144)}, "longer than 262144 bytes"),
        ({"headers": {"Content-Type": "text/plain"}}, "Content-Type"),
        ({"headers": {"Content-Type": None}}, "Content-Type"),
        ({"headers": {"X-Request-ID": None}}, "X-Request-ID"),
        ({"headers": {"X-Request-ID": "not a uuid"}}, "X-Request-ID"),
        ({"headers": {"Content-Encoding": "gzip"}}, "Content-Encoding"),
        ({"url": "https://evil.example.com/api/actionHandler/1"}, "respondToUrl"),
        ({"url": "https://witboost.example.com/api/actionHandlerEvil"}, "respondToUrl"),
        ({"url": "https://witboost.example.com/api/actionHandler/../x"}, "respondToUrl"),
        ({"url": "https://user:pw@witboost.example.com/api/actionHandler/1"}, "respondToUrl"),
        ({"url": "https://other.example.com/hooks/1"}, "respondToUrl"),
        ({"url": "ftp://witboost.example.com/api/actionHandler/1"}, "respondToUrl"),
    ],
)
async def test_what_breaks_the_contract_is_a_400_that_names_it(
    site: Site, changes: dict[str, Any], naming: str
) -> None:
    (await site.submit(**changes)).refused(400, naming)
    assert sum((await site.store.counts()).values()) == 0


async def test_everything_that_is_wrong_is_said_at_once(site: Site) -> None:
    answer = await site.submit(body={"fields": 1}, headers={"X-Request-ID": "x"})
    answer.refused(400, "X-Request-ID")
    answer.refused(400, "respondToUrl")
    answer.refused(400, "fields")


async def test_a_body_of_exactly_the_limit_is_taken(site: Site) -> None:
    body = orjson.dumps(_GOOD | {"fields": {"pad": ""}})
    pad = b"x" * (262_144 - len(body))
    padded = body.replace(b'"pad":""', b'"pad":"' + pad + b'"')
    assert len(padded) == 262_144
    assert (await site.submit(body=padded)).status == 202


async def test_a_body_without_a_length_is_limited_as_well(site: Site) -> None:
    async def chunks(count: int) -> Any:
        for _ in range(count):
            yield b" " * 65_536

    answer = await site.call(
        "POST",
        "/approval-requests",
        key=WITBOOST_KEY,
        data=chunks(5),
        headers={"Content-Type": "application/json", "X-Request-ID": str(uuid.uuid4())},
    )
    answer.refused(400, "longer than")


async def _head(site: Site, *, key: str, length: int) -> tuple[Any, Any]:
    """Open a connection and send the headers of a hook call alone."""
    assert site.base.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", site.base.port)
    lines = (
        "POST /approval-requests HTTP/1.1",
        "Host: approval",
        f"X-API-Key: {key}",
        f"X-Request-ID: {uuid.uuid4()}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "",
        "",
    )
    writer.write("\r\n".join(lines).encode())
    return reader, writer


async def test_a_slow_body_is_cut_off(start: Starts) -> None:
    site = await start(limits=Limits(body_deadline=50))
    reader, writer = await _head(site, key=WITBOOST_KEY, length=1_000)
    writer.write(b"{")
    everything = await asyncio.wait_for(reader.read(), 10)  # ends because we close
    writer.close()
    assert everything.startswith(b"HTTP/1.1 400 ")
    assert b"body did not arrive within 50 ms" in everything
    assert b"Connection: close" in everything


async def test_a_stranger_is_refused_before_its_body_is_read(start: Starts) -> None:
    site = await start(limits=Limits(body_deadline=600_000))
    reader, writer = await _head(site, key="ap_unknown", length=200_000)
    everything = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert everything.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("key", ["", "x", "ap_" + "x" * 43, "kéy", WITBOOST_KEY[:-1], OPERATOR_KEY])
async def test_every_wrong_key_has_the_same_401(site: Site, key: str) -> None:
    answer = await site.submit(key=key)
    answer.refused(401, "X-API-Key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.body == (await site.submit(key=None)).body
    assert key == "" or key.encode() not in answer.body


async def test_every_live_key_of_a_client_is_taken_also_as_a_bearer_token(site: Site) -> None:
    assert (await site.submit(key=SECOND_KEY)).status == 202
    bearer = {"Authorization": f"bearer {SECOND_KEY}"}
    assert (await site.submit(key=None, headers=bearer)).status == 202
    basic = {"Authorization": f"Basic {SECOND_KEY}"}
    assert (await site.submit(key=None, headers=basic)).status == 401


async def test_a_key_belongs_to_one_instance(site: Site) -> None:
    url = "https://other.example.com/hooks/1"
    (await site.submit(key=WITBOOST_KEY, url=url)).refused(400, "respondToUrl")
    answer = await site.submit(key=OTHER_KEY, url=url)
    entry = await site.store.load(answer.taken)
    assert entry is not None
    assert (entry.record.instance, entry.record.client) == ("other", "neighbour")


async def test_who_reaches_for_what_is_others_is_in_the_audit(
    start: Starts, store: RequestStore
) -> None:
    """The answer is a 400 or a 404 as for a slip, since the contract knows no 403."""
    streams = AuditStreams(store)
    refusals = DeniedCalls(streams, Metrics())
    site = await start(denied_calls=refusals)
    own = f"/approval-requests/{(await site.submit()).taken}"
    assert (await site.call("GET", own, key=WITBOOST_KEY)).status == 200
    (await site.submit(body=b"{}")).refused(400, "respondToUrl")
    (await site.call("GET", f"{own[:-1]}x", key=OTHER_KEY)).refused(404, "correlationId")
    await refusals.flush()
    assert [it.request for it in await streams.unsealed({}, limit=10)] == [own.rpartition("/")[2]]

    await site.submit(key=WITBOOST_KEY, url="https://other.example.com/hooks/1")
    await site.call("GET", own, key=OTHER_KEY)
    await refusals.flush()
    told = [orjson.loads(it.line) for it in await streams.unsealed({}, limit=10) if not it.request]
    assert [(it["event"], it["samples"][0]["client"]) for it in told] == [
        ("Refused", "witboost"),
        ("Refused", "neighbour"),
    ]


async def test_authentication_can_be_switched_off_for_one_instance(start: Starts) -> None:
    site = await start(clients=Clients([], open_to=["other"]))
    answer = await site.submit(key=None, url="https://other.example.com/hooks/1")
    assert (await site.call("GET", f"/approval-requests/{answer.taken}")).status == 200
    (await site.submit(key=None)).refused(400, "respondToUrl")


async def test_the_status_is_shown_to_sender_and_operator_only(site: Site) -> None:
    path = f"/approval-requests/{(await site.submit()).taken}"
    seen = await site.call("GET", path, key=WITBOOST_KEY)
    assert seen.json["status"] == "received"
    assert seen.json["admittedAt"] == "2026-01-01T00:00:00.000Z"
    assert seen.json["deadlineAt"] == "2026-01-02T00:00:00.000Z"
    assert (await site.call("GET", path, key=OPERATOR_KEY)).json == seen.json
    foreign = await site.call("GET", path, key=OTHER_KEY)
    unknown = await site.call("GET", "/approval-requests/ar" + "0" * 28, key=OTHER_KEY)
    foreign.refused(404, "correlationId")
    assert foreign.body == unknown.body
    (await site.call("GET", path)).refused(401, "X-API-Key")


async def test_an_unreachable_store_is_a_500_with_retry_after(
    start: Starts, unreachable: RequestStore
) -> None:
    site = await start(
        store=unreachable, pause_store=PauseStore(unreachable), flow=_Admits(unreachable)
    )
    answer = await site.submit()
    answer.refused(500, "store does not answer")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"redis" not in answer.body.lower()
    ready = await site.call("GET", "/readyz")
    assert ready.status == 503
    assert "store does not answer" in ready.json["reasons"][0]
    assert (await site.call("GET", "/livez")).status == 200
    shown = await site.call("GET", "/approval-requests/ar" + "0" * 28, key=WITBOOST_KEY)
    shown.refused(503, "store")


class _Admits:
    """A flow that only reaches for the store."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store

    async def admit(self, _call: object, **_kwargs: str) -> None:
        await self._store.counts()


class _Breaks:
    """A flow with a mistake in it."""

    async def admit(self, _call: object, **_kwargs: str) -> None:
        raise KeyError("secret-canary")


async def test_a_mistake_of_ours_is_a_500_that_says_nothing_of_itself(
    start: Starts, logged: Collected
) -> None:
    site = await start(flow=_Breaks())
    answer = await site.submit()
    answer.refused(500, "unexpected")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"canary" not in answer.body
    assert any("KeyError" in line.get("exception", "") for line in logged.lines)
    assert any(line.get("alarm") == "unexpected_error" for line in logged.lines)


async def test_a_full_backlog_is_a_500_with_retry_after(start: Starts, logged: Collected) -> None:
    site = await start(backpressure=BackpressurePolicy(limit=2, slow_from=1, slowest=0))
    assert [(await site.submit()).status for _ in range(2)] == [202, 202]
    answer = await site.submit()
    answer.refused(500, "backlog is full")
    assert answer.headers["Retry-After"] == "30"
    await site.submit()
    alarms = [line for line in logged.lines if line.get("alarm") == "backlog_full"]
    assert len(alarms) == 1, "one alarm when it begins, not one per call"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/approval-requests", 405), ("PUT", "/", 405), ("GET", "/nothing/here", 404)],
)
async def test_wrong_methods_and_unknown_paths_are_problems_too(
    site: Site, method: str, path: str, status: int
) -> None:
    answer = await site.call(method, path, key=WITBOOST_KEY)
    answer.refused(status, "")
    if status == 405:
        assert "POST" in answer.headers["Allow"]
