"""The whole program between a witboost and a desk, in one process, with time in the test's hand.

Everything is real but the clock: HTTP over loopback, a Redis-protocol server, OAuth2. A test asks
as witboost does, decides as a person at the desk does, and lets the worker do what is due.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from proxy.app.assembly import assemble
from proxy.app.listeners import application
from proxy.app.runtime import Runtime
from proxy.domain.models import State, StoredRequest
from proxy.observability.alarms import Alarm
from proxy.settings import Settings, load
from proxy.simulators.desk.server import Desk
from proxy.simulators.witboost import HookCall, Witboost
from proxy.web.auth import hash_key
from proxy.worker import Worker
from tests.support.canaries import API_KEY, CLIENT_SECRET, EVENT_SECRET, OPERATOR_KEY, watched
from tests.support.manual_clock import ManualClock

__all__ = ["API_KEY", "CLIENT_SECRET", "EVENT_SECRET", "OPERATOR_KEY"]  # beside what is here

GRANT: Mapping[str, Any] = {
    "identities": ["john.doe_company.com"],
    "verb": "grant",
    "motivation": "I need access to this resource",
    "domain": "finance",
    "role": "data_engineer",
}

Instance = Callable[[Witboost], AbstractAsyncContextManager[Mapping[str, Any]]]


@dataclass
class Rig:
    """The program and its two neighbours."""

    program: Runtime
    worker: Worker
    desk: Desk
    witboost: Witboost
    clock: ManualClock
    url: str

    async def ask(self, fields: Mapping[str, Any] = GRANT, **how: Any) -> HookCall:
        """Send a hook call as witboost does; it must be accepted."""
        call = await self.witboost.ask(dict(fields), **how)
        assert call.status == 202, call.body
        return call

    async def work(self, after: int = 0) -> None:
        """Let some milliseconds pass, then do everything that is due; no step may break."""
        self.clock.advance(after)
        await self.worker.run_due()
        broken = self.program.metrics.alarms.labels(Alarm.UNEXPECTED_ERROR)
        assert not broken._value.get(), "a step failed in a way that nobody foresaw; see the log"

    async def entry(self, call: HookCall) -> StoredRequest:
        """Return what the store says of a request."""
        entry = await self.program.store.load(str(call.correlation_id))
        assert entry is not None
        return entry

    async def state(self, call: HookCall) -> State:
        """Return where a request stands."""
        return (await self.entry(call)).record.state

    def tickets(self) -> list[Mapping[str, Any]]:
        """Return every ticket at the desk."""
        return list(self.desk.tickets.all())

    def final(self, call: HookCall) -> Mapping[str, Any] | None:
        """Return the final status that witboost accepted, or None."""
        accepted = [
            entry for entry in self.witboost.attempts(call.hook_id) if entry.get("answer") == 200
        ]
        assert len(accepted) <= 1
        return accepted[0]["body"] if accepted else None


def settings_tree(
    *, desk: str, witboost: str, redis_url: str | None, folder: Path, **top: Any
) -> dict[str, Any]:
    """Return settings between two simulators, as YAML would have them."""
    tree: dict[str, Any] = {
        "public_url": "https://approval.example.com",
        "listen": {"host": "127.0.0.1", "port": 0},
        "outbound": {"loopback": True},
        "store": {
            "redis_url": redis_url,
            "folder": str(folder / "store"),
            "namespace": f"t{secrets.token_hex(6)}",
            "partitions": 4,
        },
        "witboost": {
            "main": {
                "callback_urls": [f"{witboost}/api/actionHandler/"],
                "credential": {"kind": "none"},
                "allow_http": True,
                "clients": {"witboost": {"keys": [hash_key(API_KEY)]}},
            }
        },
        "ticket_systems": {"desk": desk_tree(desk)},
        "routes": [{"name": "default", "system": "desk"}],
        "operators": {"clients": {"alice": {"keys": [hash_key(OPERATOR_KEY)], "role": "admin"}}},
    }
    for name, section in top.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
    return tree


def desk_tree(url: str) -> dict[str, Any]:
    """Return the declaration of the desk simulator."""
    return {
        "kind": "rest",
        "base_url": url,
        "allow_http": True,
        "auth": {
            "kind": "oauth2",
            "token_url": f"{url}/oauth/token",
            "client_id": "proxy",
            "client_secret": CLIENT_SECRET,
        },
        "create": {
            "method": "POST",
            "path": "/api/tickets",
            "body": {
                "title": "{{ verb }} access for {{ identities | join(', ') }}",
                "description": "{{ motivation }}",
                "correlation_id": "{{ correlation_id }}",
            },
            "success": [201],
            "ticket": "ticket",
        },
        "find": {
            "path": "/api/tickets",
            "query": {"correlation_id": "{{ correlation_id }}"},
            "tickets": "tickets",
            "match": "correlation_id",
        },
        "read": {"path": "/api/tickets/{{ ticket.id }}", "ticket": "ticket"},
        "comment": {
            "method": "POST",
            "path": "/api/tickets/{{ ticket.id }}/comments",
            "body": {"text": "{{ text }}"},
        },
        "cancel": {
            "method": "POST",
            "path": "/api/tickets/{{ ticket.id }}/cancel",
            "body": {"reason": "{{ reason }}"},
        },
        "ticket": {
            "id": "id",
            "key": "key",
            "url": "url",
            "status": "status",
            "decided_by": "decided_by",
            "deciders": "[decided_by, decided_by_email]",
            "comment": "decision_comment",
            "decided_at": "decided_at",
            "created": "created",
        },
        "decision": {
            "new": "pending",
            "in_review": "pending",
            "approved": "approved",
            "rejected": "rejected",
            "cancelled": "cancelled",
            "done": "approved",
        },
        "fulfilment": {"done": "fulfilled"},
        "limits": {"title": 120, "description": 8000},
        "deadline": "2s",
        "settle": "5s",
        "events": {
            "auth": "hmac",
            "header": "X-Desk-Signature",
            "prefix": "sha256=",
            "signed": "{timestamp}.{body}",
            "timestamp_header": "X-Desk-Timestamp",
            "id_header": "X-Desk-Event-Id",
            "ticket": "ticket.id",
            "secrets": [EVENT_SECRET],
        },
    }


def make_settings(folder: Path, tree: Mapping[str, Any]) -> Settings:
    """Return settings read from a file, as a user's are."""
    file = folder / "approval-proxy.yaml"
    file.write_text(yaml.safe_dump(dict(tree)))
    return load(file, {})


@asynccontextmanager
async def open_rig(
    folder: Path,
    redis_url: str,
    clock: ManualClock,
    *,
    desk: Mapping[str, Any] | None = None,
    witboost: Mapping[str, Any] | None = None,
    declare: Callable[[str], dict[str, Any]] | None = None,
    instance: Instance | None = None,
    **top: Any,
) -> AsyncIterator[Rig]:
    """Start everything.

    `desk` and `witboost` are options of the simulators, `declare` makes the desk's declaration
    from its URL, `instance` gives settings of the witboost instance once its simulator listens,
    and may put something in front of it; `top` are further sections of the settings.
    """
    keep: dict[str, Any] = {
        "client_id": "proxy",
        "client_secret": CLIENT_SECRET,
        "event_secret": EVENT_SECRET,
        "clock": clock,
    }
    async with (
        Desk(**{**keep, **(desk or {})}) as the_desk,
        Witboost(api_key=API_KEY, clock=clock, **(witboost or {})) as the_witboost,
        instance(the_witboost) if instance else nullcontext({}) as section,
    ):
        if declare is not None:
            top["ticket_systems"] = {"desk": declare(the_desk.url)}
        tree = settings_tree(
            desk=the_desk.url, witboost=the_witboost.url, redis_url=redis_url, folder=folder, **top
        )
        tree["witboost"]["main"] |= section
        async with run_between(the_desk, the_witboost, make_settings(folder, tree), clock) as rig:
            yield rig


@asynccontextmanager
async def run_between(
    desk: Desk, witboost: Witboost, settings: Settings, clock: ManualClock
) -> AsyncIterator[Rig]:
    """Start the program between neighbours that are there, and may outlive it."""
    async with assemble(settings, clock=clock, dice=lambda: 0.5) as program:
        runner = web.AppRunner(watched(application(program)), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        witboost.hook_url = f"{url}/approval-requests"
        desk.events.target = f"{url}/ticket-events/desk"
        try:
            yield Rig(program, program.worker(), desk, witboost, clock, url)
        finally:
            await runner.cleanup()


async def get_json(url: str, key: str) -> tuple[int, Any]:
    """Read a page of the program with an API key."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"X-API-Key": key}) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def post_json(url: str, key: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    """Send JSON to the program with an API key."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, headers={"X-API-Key": key}, json=dict(body)) as answer,
    ):
        return answer.status, await answer.json(content_type=None)
