"""Webhooks of a simulated Jira site: of an administrator, or of an OAuth2 app."""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from proxy.simulators.events import Letter, Write

EventAuth = Literal["hmac", "jwt"]


def writer(auth: EventAuth) -> Write:
    """Return what writes events that are proven in this way."""
    return signed if auth == "hmac" else with_token


def signed(secret: str, event: str, ticket: Mapping[str, Any], moment: int) -> Letter:
    """Return an event of an administrator's webhook: an HMAC of its body."""
    event_id, headers, body = _plain(event, ticket, moment)
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return event_id, {**headers, "X-Hub-Signature": f"sha256={mac}"}, body


def with_token(secret: str, event: str, ticket: Mapping[str, Any], moment: int) -> Letter:
    """Return an event of an app's webhook: a token that says nothing of its body."""
    event_id, headers, body = _plain(event, ticket, moment)
    claims = {"iss": "jira", "iat": moment // 1000, "exp": moment // 1000 + 180}
    signed_part = b".".join(_base64(each) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
    mac = hmac.new(secret.encode(), signed_part, hashlib.sha256).digest()
    token = b".".join((signed_part, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()
    return event_id, {**headers, "Authorization": f"Bearer {token}"}, body


def _base64(part: Mapping[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=")


def _plain(event: str, ticket: Mapping[str, Any], moment: int) -> Letter:
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
