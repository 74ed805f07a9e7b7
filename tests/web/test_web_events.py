"""Ticket events: proof, replay, and what an event can and cannot do."""

import uuid
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from proxy.domain.events.ticket import CreateStarted, TicketOpened
from proxy.domain.models import Ticket
from proxy.net.addresses import read_networks
from proxy.simulators.events import signed_headers
from proxy.store.requests import RequestStore
from proxy.web.context import Limits
from proxy.web.http.trusted_proxies import TrustedProxies
from tests.support.acting import happen
from tests.support.manual_clock import ManualClock
from tests.support.web_desk import EVENT_SECRET, Desk
from tests.web.conftest import WITBOOST_KEY, Answered, Collected, Site, Starts

LATE = 50_000  # milliseconds after which the fixture's ticket is read if nobody hints


async def _pending(site: Site) -> str:
    """Return a request whose ticket T1 is read next in a while."""
    correlation_id = (await site.submit()).taken
    await happen(site.store, correlation_id, CreateStarted(at=1))
    opened = TicketOpened(at=await site.store.now() + LATE, ticket=Ticket(id="T1", key="INC1"))
    await happen(site.store, correlation_id, opened)
    return correlation_id


async def _due_in(store: RequestStore) -> int:
    due = await store.next_due()
    assert due is not None
    return due - await store.now()


def _event(clock: ManualClock, **changes: Any) -> tuple[bytes, dict[str, str]]:
    tree = {"event": "changed", "ticket": {"id": changes.get("ticket", "T1")}}
    body = orjson.dumps(changes.get("tree", tree))
    event_id = changes.get("event_id", str(uuid.uuid4()))
    seconds = changes.get("seconds", clock.now() // 1_000)
    secret = changes.get("secret", EVENT_SECRET)
    return body, signed_headers(secret, body, event_id=event_id, seconds=seconds)


async def _send(
    site: Site, event: tuple[bytes, Mapping[str, str]], system: str = "desk"
) -> Answered:
    return await site.call("POST", f"/ticket-events/{system}", data=event[0], headers=event[1])


def _counted(site: Site, result: str) -> float:
    labels = {"system": "desk", "result": result}
    return site.metrics.registry.get_sample_value("approval_proxy_events_total", labels) or 0


async def test_a_verified_event_makes_its_request_due_and_decides_nothing(
    site: Site, clock: ManualClock
) -> None:
    correlation_id = await _pending(site)
    assert await _due_in(site.store) == LATE, "the control: without an event it waits"
    answer = await _send(site, _event(clock))
    assert (answer.status, answer.json) == (202, {})
    assert await _due_in(site.store) < LATE
    entry = await site.store.load(correlation_id)
    assert entry is not None
    assert entry.record.decision is None
    assert _counted(site, "taken") == 1


async def test_a_repeated_event_is_answered_and_has_no_effect(
    site: Site, clock: ManualClock
) -> None:
    event = _event(clock)
    assert (await _send(site, event)).status == 202  # nobody waits for its ticket yet
    await _pending(site)
    assert (await _send(site, event)).status == 202
    assert await _due_in(site.store) == LATE
    assert _counted(site, "repeated") == 1
    renamed = event[0], event[1] | {"X-Desk-Event-Id": "e-2"}  # which no signature covers
    assert (await _send(site, renamed)).status == 202
    assert await _due_in(site.store) == LATE
    assert _counted(site, "repeated") == 2
    # the control: a new event has its effect
    await _send(site, _event(clock, seconds=clock.now() // 1_000 + 1))
    assert await _due_in(site.store) < LATE


async def test_a_certificate_is_believed_from_a_trusted_proxy_alone(
    start: Starts, clock: ManualClock
) -> None:
    """The header itself is right; who wrote it is what counts, and that nobody can say."""
    site = await start(client_cert_systems={"desk"})
    forwarded = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
    body, headers = _event(clock)
    (await _send(site, (body, headers | forwarded))).refused(401, "does not prove")
    behind = await start(
        client_cert_systems={"desk"}, trusted_proxies=TrustedProxies(read_networks(["127.0.0.0/8"]))
    )
    assert (await _send(behind, (body, headers))).status == 202


async def test_an_event_for_an_unknown_ticket_is_answered_as_any_other(
    site: Site, clock: ManualClock
) -> None:
    assert (await _send(site, _event(clock, ticket="T999"))).status == 202


@pytest.mark.parametrize(
    "changes",
    [{"secret": "wrong"}, {"seconds": 1_000}, {"seconds": 99_999_999_999}],
)
async def test_whatever_is_wrong_with_the_proof_has_the_same_401(
    site: Site, clock: ManualClock, changes: dict[str, Any]
) -> None:
    await _pending(site)
    answer = await _send(site, _event(clock, **changes))
    answer.refused(401, "does not prove")
    unknown = await _send(site, _event(clock), system="nobody")
    unproven = await site.call("POST", "/ticket-events/desk", data=b"{}")
    changed = await _send(site, (b'{"ticket":{"id":"T1"} }', _event(clock)[1]))
    assert {answer.body} == {unknown.body, unproven.body, changed.body}
    assert await _due_in(site.store) == LATE
    assert b"canary" not in answer.body
    assert _counted(site, "refused") == 3, "of systems that there are"


async def test_an_event_that_names_no_ticket_is_a_400(site: Site, clock: ManualClock) -> None:
    (await _send(site, _event(clock, tree={"ticket": {}}))).refused(400, "body")
    assert _counted(site, "unusable") == 1


async def test_an_event_has_a_size_and_a_client_key_opens_nothing(
    start: Starts, clock: ManualClock
) -> None:
    site = await start(limits=Limits(event=100))
    large = _event(clock, tree={"ticket": {"id": "T1"}, "pad": "x" * 100})
    (await _send(site, large)).refused(400, "longer than 100 bytes")
    assert _counted(site, "unusable") == 1
    unknown = await _send(site, large, system="nobody")
    unknown.refused(400, "longer than 100 bytes")  # the names of systems are for nobody
    assert "nobody" not in site.metrics.text().decode()
    answer = await site.call("POST", "/ticket-events/desk", key=WITBOOST_KEY, data=b"{}")
    assert answer.status == 401


async def test_a_system_knows_the_repeats_of_its_own_events_alone(
    start: Starts, clock: ManualClock
) -> None:
    """Whoever knows one system's secret must not make another's events look like repeats."""
    desk = Desk()
    site = await start(event_systems={"desk": desk, "other": desk})
    event = _event(clock)
    for system in ("other", "desk", "desk"):
        assert (await _send(site, event, system)).status == 202
    assert (_counted(site, "taken"), _counted(site, "repeated")) == (1, 1)


async def test_events_leave_no_signature_in_the_log(
    site: Site, clock: ManualClock, logged: Collected
) -> None:
    body, headers = _event(clock)
    await _send(site, (body, headers))
    assert logged.of("proxy.access")
    assert headers["X-Desk-Signature"].encode() not in logged.text
    assert EVENT_SECRET.encode() not in logged.text
