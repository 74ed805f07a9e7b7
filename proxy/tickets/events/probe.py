"""Empty events with a valid proof: they test whether a running program accepts our secret."""

from collections.abc import Mapping
from typing import Final

import orjson
from joserfc import jwt
from joserfc.jwk import OctKey

from proxy.domain.timestamps import rfc3339_seconds
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.jwt import without_length_warnings
from proxy.tickets.events.proofs import HmacKey, PresentedSecret, Signature, read_key

_LIFETIME: Final = 60  # of a token, in seconds


def empty_event(
    events: Events, secret: bytes, *, now: int, name: str
) -> tuple[Mapping[str, str], bytes] | None:
    """Return headers and body of an event that names no ticket, with the proof of one secret.

    `now` is in milliseconds, `name` makes it differ from other events. None if we cannot write it:
    we have only a public key, a proxy adds the proof, or the time is deep inside the body.

    Raises:
        ValueError: the secret does not have the form that the settings require.
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
    expected = events.token
    algorithm = next((name for name in expected.algorithms if name.startswith("HS")), None)
    if algorithm is None:
        return None
    claims: dict[str, object] = {"iat": now // 1_000, "exp": now // 1_000 + _LIFETIME}
    claims |= {"iss": expected.issuer} if expected.issuer else {}
    claims |= {"aud": expected.audience} if expected.audience else {}
    header = {"alg": algorithm, "typ": expected.type}
    with without_length_warnings():
        token = jwt.encode(header, claims, OctKey.import_key(secret), algorithms=[algorithm])
    return f"{events.prefix}{token}"


def _written(now: int, form: str) -> str:
    if form == "rfc3339":
        return rfc3339_seconds(now)
    return str(now if form == "milliseconds" else now // 1_000)
