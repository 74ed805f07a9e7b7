"""Events that prove themselves and name no ticket: to ask a program whether it takes our secret."""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import orjson
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey

from proxy.tickets.events.declaration import Events
from proxy.tickets.events.proofs import HmacKey, PresentedSecret, Signature, read_key

_LIFE: Final = 60  # seconds of a token


def empty_event(
    events: Events, secret: bytes, *, now: int, name: str
) -> tuple[Mapping[str, str], bytes] | None:
    """Return headers and body of an event that names no ticket, proven with one secret.

    `now` is in milliseconds, `name` makes it different from others. None where it cannot be written
    with what we know: we hold a public key only, a proxy writes the proof, or the time is deep in
    its body.

    Raises:
        ValueError: the secret does not have the form that the settings say.
    """
    tree: dict[str, object] = {"check": name}
    if events.sent_at is not None:
        if not events.sent_at.isidentifier():
            return None
        tree[events.sent_at] = _written(now, events.timestamp_format)
    headers = {"Content-Type": "application/json"}
    if events.timestamp_header is not None:
        headers[events.timestamp_header] = _written(now, events.timestamp_format)
    if events.id_header is not None:
        headers[events.id_header] = name
    body = orjson.dumps(tree)
    proof = _proof(events, secret, headers, body, now)
    return None if proof is None else ({**headers, events.header: proof}, body)


def _proof(
    events: Events, secret: bytes, headers: Mapping[str, str], body: bytes, now: int
) -> str | None:
    match events.auth:
        case "hmac":
            key = read_key(secret, events)
            message = Signature(events, lambda: (secret,)).message(headers, body)
            if not isinstance(key, HmacKey) or message is None:
                return None
            return key.signature(message).decode()
        case "jwt":
            return _token(events, secret, now)
        case "basic" | "static_header":
            return PresentedSecret(events, lambda: (secret,)).expected(secret).decode()
        case "client_certificate":
            return None


def _token(events: Events, secret: bytes, now: int) -> str | None:
    wanted = events.token
    algorithm = next((it for it in wanted.algorithms if it.startswith("HS")), None)
    if algorithm is None:
        return None
    claims: dict[str, object] = {"iat": now // 1_000, "exp": now // 1_000 + _LIFE}
    claims |= {"iss": wanted.issuer} if wanted.issuer else {}
    claims |= {"aud": wanted.audience} if wanted.audience else {}
    header = {"alg": algorithm, "typ": wanted.type}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # the length is the other side's
        token = jwt.encode(header, claims, OctKey.import_key(secret), algorithms=[algorithm])
    return f"{events.prefix}{token}"


def _written(now: int, form: str) -> str:
    if form == "rfc3339":
        return datetime.fromtimestamp(now // 1_000, UTC).isoformat().replace("+00:00", "Z")
    return str(now if form == "milliseconds" else now // 1_000)
