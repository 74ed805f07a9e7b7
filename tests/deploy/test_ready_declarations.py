"""The ready declarations: loaded as a user's are, rendered, and given what each vendor documents.

The sample answers are shortened, but for what is read of them. Zendesk's is the example ticket of
its OpenAPI description, with our correlation id as `external_id` and our field among its own;
Freshservice's are those of its API reference, GLPI's follow the schemas in its source.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from proxy.domain.models import Outcome
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.settings import Settings, load
from proxy.tickets.kinds import open_system
from proxy.tickets.port import (
    AnswersChallenges,
    Cancels,
    Comments,
    FetchesMany,
    ListsChanges,
    PushesEvents,
    TicketSystem,
)
from tests.support.declarations import approval_request
from tests.support.systems import System, serving

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
NAMES = ("zendesk", "glpi", "freshservice")
NOW = 1_800_000_000_000

ZENDESK = {
    "id": 35436,
    "url": "https://company.zendesk.com/api/v2/tickets/35436.json",
    "external_id": "r-1",
    "created_at": "2009-07-20T22:55:29Z",
    "updated_at": "2011-05-05T10:38:52Z",
    "generated_timestamp": 1304553600,
    "subject": "Help, my printer is on fire!",
    "status": "open",
    "custom_fields": [
        {"id": 27642, "value": "745"},
        {"id": 360000000001, "value": "access_pending"},
    ],
    "tags": ["enterprise", "other_tag"],
}
GLPI = {
    "id": 12,
    "name": "grant access to sales.orders",
    "content": "I need it",
    "external_id": "r-1",
    "type": 2,
    "status": {"id": 2, "name": "Processing (assigned)"},
    "date_creation": "2026-11-25T10:00:00+00:00",
    "date_mod": "2026-11-25T10:05:00+00:00",
}
VALIDATION = {
    "id": 3,
    "approver": {"id": 8, "name": "olga"},
    "requested_approver_type": "Group",
    "requested_approver_id": 4,
    "submission_comment": "Access request",
    "approval_comment": "fine",
    "status": 2,
    "submission_date": "2026-11-25T10:00:01+00:00",
    "approval_date": "2026-11-25T10:05:00+00:00",
    "tickets_id": 12,
}
FRESHSERVICE = {
    "id": 20,
    "subject": "Support Needed...",
    "description": "<div>Details about the issue ...</div>",
    "status": 2,
    "priority": 1,
    "requester_id": 5,
    "tags": ["r-1"],
    "created_at": "2015-08-17T12:02:50Z",
    "updated_at": "2015-08-17T12:02:51Z",
}
APPROVAL = {
    "id": 21000143868,
    "approver_id": 21001931878,
    "approver_name": "Alex",
    "approval_type": 2,
    "level": 1,
    "approval_status": {"id": 0, "name": "requested"},
    "latest_remark": None,
    "created_at": "2023-04-24T19:29:38Z",
    "updated_at": "2023-04-24T19:29:38Z",
}


@dataclass
class Vendor:
    """A server that answers by path as a vendor documents, and may be told otherwise."""

    shown: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        known = {key: it for key, it in self.shown.items() if re.fullmatch(key, _line(request))}
        assert known, f"nobody documents {_line(request)}"
        answer = next(reversed(known.values()))
        if request.query.get("page", "1") != "1":
            answer = {"approvals": []}
        status = 201 if request.method == "POST" else 200
        return web.Response(body=orjson.dumps(answer), status=status)


def _line(request: web.Request) -> str:
    return f"{request.method} {request.path}"


def documented(name: str) -> dict[str, Any]:
    """Return what a vendor answers to what."""
    match name:
        case "zendesk":
            one, api = {"ticket": ZENDESK}, "/api/v2"
            stream = {"tickets": [ZENDESK], "after_url": None, "end_of_stream": True}
            return {
                f"POST {api}/tickets": one,
                f"GET {api}/tickets": {"tickets": [ZENDESK]},
                f"(GET|PUT) {api}/tickets/35436": one,
                f"GET {api}/tickets/show_many": {"tickets": [ZENDESK]},
                f"GET {api}/incremental/tickets/cursor": stream,
            }
        case "glpi":
            here = "/api.php/v2/Assistance/Ticket"
            return {
                f"POST {here}": {"id": 12, "href": f"{here}/12"},
                f"GET {here}": [GLPI],
                f"(GET|PATCH) {here}/12": GLPI,
                f"GET {here}/12/Timeline/Validation": [{"type": "Validation", "item": VALIDATION}],
                f"POST {here}/12/Timeline/.*": {
                    "id": 3,
                    "href": f"{here}/12/Timeline/Validation/3",
                },
            }
        case _:
            one, api = {"ticket": FRESHSERVICE}, "/api/v2"
            return {
                f"POST {api}/tickets": one,
                f"GET {api}/tickets": {"tickets": [FRESHSERVICE]},
                f"GET {api}/tickets/filter": {"tickets": [FRESHSERVICE], "total": 1},
                f"(GET|PUT) {api}/tickets/20": one,
                f"GET {api}/tickets/20/approvals": {"approvals": [APPROVAL]},
                f"POST {api}/tickets/20/notes": {"conversation": {"id": 1}},
            }


def loaded(name: str, folder: Path) -> Settings:
    """Load a file as a user's is, with its secrets somewhere."""
    text = (EXAMPLES / f"{name}.yaml").read_text()
    for secret in set(re.findall(r"/run/secrets/([a-z-]+)", text)):
        (folder / secret).write_text("whatever is secret")
    file = folder / "approval-proxy.yaml"
    file.write_text(text.replace("/run/secrets/", f"{folder}/"))
    return load(file, {})


def opened(name: str, folder: Path, server: System, outbound: Outbound) -> TicketSystem:
    """Open the ticket system that a file declares, at another address."""
    system = loaded(name, folder).ticket_systems[name]
    declaration = system.declaration.model_dump(mode="json")
    path = re.sub(r"https://[^/]+", "", str(declaration["base_url"]))
    http = outbound.destination(
        name,
        origins=[server.origin],
        deadline=5_000,
        concurrency=4,
        credential=NoCredential(),
    )
    return open_system(
        name=name,
        declaration=declaration | {"base_url": f"{server.origin}{path}"},
        http=http,
        event_secrets=system.event_secrets,
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_was_verified_and_what_was_not(name: str, tmp_path: Path) -> None:
    text = (EXAMPLES / f"{name}.yaml").read_text()
    top = text.partition("\npublic_url:")[0]
    assert "# Verified:" in top
    assert "# Not verified: a live" in top
    assert name in loaded(name, tmp_path).ticket_systems


EXPECTED: Mapping[str, tuple[str, str, list[str], dict[str, Any]]] = {
    "zendesk": (
        "35436",
        "POST /api/v2/tickets",
        ["GET /api/v2/tickets?external_id=r-1"],
        {
            "ticket": {
                "subject": "grant access to sales.orders for user:ada, user:bob",
                "comment": {"body": "<b>I</b> need it"},
                "external_id": "r-1",
                "type": "task",
                "custom_fields": [{"id": 360000000001, "value": "access_pending"}],
            }
        },
    ),
    "glpi": (
        "12",
        "POST /api.php/v2/Assistance/Ticket",
        [
            "GET /api.php/v2/Assistance/Ticket?filter=external_id%3D%3Dr-1",
            "GET /api.php/v2/Assistance/Ticket/12/Timeline/Validation",
        ],
        {
            "name": "grant access to sales.orders for user:ada, user:bob",
            "content": "&lt;b&gt;I&lt;/b&gt; need it",
            "external_id": "r-1",
            "type": 2,
        },
    ),
    "freshservice": (
        "20",
        "POST /api/v2/tickets",
        ["GET /api/v2/tickets/filter?query=%22tag:'r-1'%22"],
        {
            "subject": "grant access to sales.orders for user:ada, user:bob",
            "description": "&lt;b&gt;I&lt;/b&gt; need it",
            "email": "access-requests@example.com",
            "priority": 2,
            "status": 2,
            "tags": ["r-1"],
        },
    ),
}


@pytest.mark.parametrize("name", NAMES)
async def test_a_ticket_is_opened_and_found_again(name: str, tmp_path: Path) -> None:
    ticket_id, create, find, body = EXPECTED[name]
    async with serving(Vendor(documented(name))) as server, Outbound(loopback=True) as outbound:
        system = opened(name, tmp_path, server, outbound)
        ticket = await system.open(approval_request(motivation="<b>I</b> need it"))
        first = server.calls[0]
        assert f"{first.method} {first.path}" == create
        assert orjson.loads(first.body) == body
        if name == "glpi":
            asked = server.calls[1]
            assert f"{asked.method} {asked.path}" == f"{create}/12/Timeline/Validation"
            assert orjson.loads(asked.body)["requested_approver_id"] == 4
        seen = len(server.calls)
        found = await system.find("r-1")
        assert [(it.id, it.id) for it in found] == [(ticket.id, ticket_id)]
        assert [f"{it.method} {it.path}" for it in server.calls[seen:]] == find


@pytest.mark.parametrize("name", NAMES)
async def test_a_decision_is_read(name: str, tmp_path: Path) -> None:
    vendor = Vendor(documented(name))
    async with serving(vendor) as server, Outbound(loopback=True) as outbound:
        system = opened(name, tmp_path, server, outbound)
        ticket_id = EXPECTED[name][0]
        assert (await system.fetch(ticket_id)).outcome is Outcome.PENDING
        for outcome, said in (
            (Outcome.APPROVED, "yes"),
            (Outcome.REJECTED, "no"),
            (None, "perhaps"),
        ):
            vendor.shown |= decided(name, said)
            ticket = await system.fetch(ticket_id)
            assert ticket.outcome is outcome
            if name != "zendesk" and outcome is not None:
                assert ticket.decided_by in {"olga", "Alex"}


def decided(name: str, said: str) -> dict[str, Any]:
    """Return what a vendor answers after somebody said yes, no, or what nobody documents."""
    match name:
        case "zendesk":
            word = {"yes": "access_approved", "no": "access_rejected"}.get(said, said)
            fields = [{"id": 360000000001, "value": word}]
            shown = ZENDESK | {"custom_fields": fields}
            return {"(GET|PUT) /api/v2/tickets/35436": {"ticket": shown}}
        case "glpi":
            validation = VALIDATION | {"status": {"yes": 3, "no": 4}.get(said, 9)}
            path = "GET /api.php/v2/Assistance/Ticket/12/Timeline/Validation"
            return {path: [{"type": "Validation", "item": validation}]}
        case _:
            status = {"yes": "approved", "no": "rejected"}.get(said, said)
            approval = APPROVAL | {"approval_status": {"id": 1, "name": status}}
            first = {"id": 1, "approver_name": "Zoe", "approval_status": {"name": "approved"}}
            return {"GET /api/v2/tickets/20/approvals": {"approvals": [first, approval]}}


@pytest.mark.parametrize("name", NAMES)
async def test_changes_comments_and_endings(name: str, tmp_path: Path) -> None:
    async with serving(Vendor(documented(name))) as server, Outbound(loopback=True) as outbound:
        system = opened(name, tmp_path, server, outbound)
        ticket_id = EXPECTED[name][0]
        assert isinstance(system, ListsChanges)
        assert isinstance(system, Comments)
        assert isinstance(system, Cancels)
        since = 1_304_553_600_000 if name == "zendesk" else NOW + 10**11
        assert set(await system.changes(since)) == {ticket_id}
        if isinstance(system, FetchesMany):
            assert set(await system.fetch_many([ticket_id, "99"])) == {ticket_id}
        seen = len(server.calls)
        await system.comment(ticket_id, "<i>hello</i>")
        await system.cancel(ticket_id, "too late")
        sent = [orjson.loads(it.body) for it in server.calls[seen:] if it.body]
    comment, ending = sent
    if name == "zendesk":
        assert ending["ticket"]["updated_stamp"] == ZENDESK["updated_at"]
        assert comment["ticket"]["comment"]["public"] is False
    else:
        assert "&lt;i&gt;" in next(iter(comment.values()))
        assert ending == {"status": 6 if name == "glpi" else 5}


def event(name: str) -> tuple[dict[str, str], bytes]:
    """Return an event as each vendor proves it."""
    secret, seconds = b"whatever is secret", str(NOW // 1_000)
    match name:
        case "zendesk":
            body, stamp = b'{"ticket":{"id":"35436"}}', "2027-01-15T08:00:00Z"
            mac = hmac.new(secret, stamp.encode() + body, hashlib.sha256).digest()
            shown = {"X-Zendesk-Webhook-Signature": base64.b64encode(mac).decode()}
            return shown | {"X-Zendesk-Webhook-Signature-Timestamp": stamp}, body
        case "glpi":
            body = b'{"event":"update","item":{"id":3,"tickets_id":12}}'
            mac = hmac.new(secret, body + seconds.encode(), hashlib.sha256).digest()
            return {"X-GLPI-signature": mac.hex(), "X-GLPI-timestamp": seconds}, body
        case _:
            return {"X-Approval-Token": secret.decode()}, b'{"ticket":{"id":"20"}}'


@pytest.mark.parametrize("name", NAMES)
async def test_an_event_names_its_ticket(name: str, tmp_path: Path) -> None:
    async with serving(Vendor()) as server, Outbound(loopback=True) as outbound:
        system = opened(name, tmp_path, server, outbound)
        assert isinstance(system, PushesEvents)
        headers, body = event(name)
        assert EXPECTED[name][0] in system.read_event(headers, body, now=NOW).refs
        assert isinstance(system, AnswersChallenges)
        token = hmac.new(b"whatever is secret", b"validate_cra_challenge", hashlib.sha256)
        answer = system.answer_challenge("GET", {"crc_token": token.hexdigest()}, b"")
        assert (answer is not None) == (name == "glpi")
