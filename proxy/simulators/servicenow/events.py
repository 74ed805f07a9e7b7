"""Events of a simulated ServiceNow instance, in the format of the documented business rule."""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.simulators.events import Payload


def signed_payload(secret: str, event: str, ticket: Mapping[str, Any], moment: int) -> Payload:
    """Return an event as the documented business rule sends it."""
    body = orjson.dumps({"sys_id": ticket["sys_id"], "number": ticket["number"], "event": event})
    seconds = str(moment // 1000)
    signed = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    headers = {
        "Content-Type": "application/json",
        "X-Hmac-Timestamp": seconds,
        "X-Hmac-Signature": base64.b64encode(signed.digest()).decode(),
    }
    return str(uuid.uuid4()), headers, body
