"""Webhooks of a simulated Jira site: registered by an administrator, or by an OAuth2 app."""

import hashlib
import hmac
import uuid
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from proxy.simulators.credentials import signed_jwt
from proxy.simulators.events import Payload, PayloadWriter

EventAuth = Literal["hmac", "jwt"]


def writer(auth: EventAuth) -> PayloadWriter:
    """Return the function that writes events authenticated in this way."""
    return signed if auth == "hmac" else with_token


def signed(secret: str, event: str, ticket: Mapping[str, Any], moment: int) -> Payload:
    """Return an event of an administrator's webhook, with an HMAC of its body."""
    event_id, headers, body = _plain(event, ticket, moment)
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return event_id, {**headers, "X-Hub-Signature": f"sha256={mac}"}, body


def with_token(secret: str, event: str, ticket: Mapping[str, Any], moment: int) -> Payload:
    """Return an event of an app's webhook, with a JWT that does not cover its body."""
    event_id, headers, body = _plain(event, ticket, moment)
    claims = {"iss": "jira", "iat": moment // 1000, "exp": moment // 1000 + 180}
    token = signed_jwt(claims, secret.encode(), typ="JWT")
    return event_id, {**headers, "Authorization": f"Bearer {token}"}, body


def _plain(event: str, ticket: Mapping[str, Any], moment: int) -> Payload:
    event_id = str(uuid.uuid4())
    issue = {
        "id": ticket["id"],
        "key": ticket["key"],
        "fields": {"status": {"name": ticket.get("status", "")}},
    }
    body = orjson.dumps(
        {"timestamp": moment, "webhookEvent": f"jira:issue_{event}", "issue": issue}
    )
    headers = {
        "Content-Type": "application/json; charset=UTF-8",
        "X-Atlassian-Webhook-Identifier": event_id,
        "X-Atlassian-Webhook-Flow": "Primary",
    }
    return event_id, headers, body
