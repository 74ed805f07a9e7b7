"""Whether an event comes from its ticket system, and which tickets it names: pure, no I/O.

What was presented is never decoded: the expected proof is written out and compared with it in
constant time, so a malformed proof is just a wrong one. Every cause has the same error, because a
more telling one would help whoever is guessing.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from proxy.domain.models import TicketHint
from proxy.errors import InvalidRequest, Unauthorized
from proxy.tickets.declaration import Events
from proxy.tickets.expressions import finder
from proxy.tickets.values import clean

MOST_REFS: Final = 100
LONGEST_REF: Final = 255
MOST_SIGNATURES: Final = 8
_PLACEHOLDER: Final = re.compile(r"(\{timestamp\}|\{id\}|\{body\})")
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class EventReader:
    """Verifies and reads the events of one system; any of several live secrets will do.

    `secrets` is asked for each event, so that secrets may be replaced meanwhile.
    """

    def __init__(self, events: Events, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._events = events
        self._secrets = secrets
        self._signed = _PLACEHOLDER.split(events.signed)
        places = (events.ticket,) if isinstance(events.ticket, str) else events.ticket
        self._places = [finder(place) for place in places]
        self._replay_key = finder(events.replay_key) if events.replay_key else None

    def read(self, headers: Mapping[str, str], body: bytes, *, now: int) -> TicketHint:
        """Return which tickets a proven event names; `now` is in milliseconds since the epoch.

        Raises:
            Unauthorized: anything is wrong with the proof.
            InvalidRequest: it is proven, but names no ticket.
        """
        if not (self._is_timely(headers, now) and self._is_proven(headers, body)):
            raise Unauthorized("the event does not prove that it comes from the ticket system")
        try:
            tree = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"body: is not JSON ({error.msg})") from error
        refs = tuple(dict.fromkeys(self._refs(tree)))[:MOST_REFS]
        if not refs:
            raise InvalidRequest("body: names no ticket where the settings expect one")
        return TicketHint(refs, self._replay_key_of(headers, body, tree))

    def _is_timely(self, headers: Mapping[str, str], now: int) -> bool:
        if self._events.timestamp_header is None:
            return True
        moment = _MOMENTS[self._events.timestamp_format](
            _only(headers, self._events.timestamp_header) or ""
        )
        return moment is not None and abs(now - moment) <= self._events.tolerance

    def _is_proven(self, headers: Mapping[str, str], body: bytes) -> bool:
        presented = _only(headers, self._events.header)
        message = self._message(headers, body)
        if presented is None or message is None:
            return False
        candidates = self._candidates(presented)
        # a list, not a generator: how long it takes must not tell which secret came close
        matches = [
            hmac.compare_digest(self._expected(secret, message), candidate)
            for secret in self._secrets()
            for candidate in candidates
        ]
        return any(matches)

    def _candidates(self, presented: str) -> list[bytes]:
        """Return what is compared; Standard Webhooks send several signatures, with spaces."""
        match self._events.auth:
            case "hmac":
                texts = presented.split(" ")[:MOST_SIGNATURES]
                if self._events.encoding == "hex":
                    prefix = len(self._events.prefix)
                    texts = [text[:prefix] + text[prefix:].lower() for text in texts]
            case "basic":
                scheme, _, proof = presented.partition(" ")
                texts = [f"{scheme.lower()} {proof.strip()}"]
            case "static_header":
                texts = [presented]
        return [text.encode("utf-8", "surrogatepass") for text in texts]

    def _expected(self, secret: bytes, message: bytes) -> bytes:
        prefix = self._events.prefix.encode()
        match self._events.auth:
            case "hmac":
                mac = hmac.new(secret, message, getattr(hashlib, self._events.algorithm)).digest()
                as_hex = self._events.encoding == "hex"
                return prefix + (mac.hex().encode() if as_hex else base64.b64encode(mac))
            case "basic":
                return b"basic " + base64.b64encode(secret)
            case "static_header":
                return prefix + secret

    def _message(self, headers: Mapping[str, str], body: bytes) -> bytes | None:
        """Return what must be signed; None if a header that it consists of is missing."""
        message = b""
        for part in self._signed:
            match part:
                case "{body}":
                    message += body
                    continue
                case "{timestamp}":
                    text = _only(headers, self._events.timestamp_header or "")
                case "{id}":
                    text = _only(headers, self._events.id_header or "")
                case _:
                    text = part
            if text is None:
                return None
            message += text.encode("utf-8", "surrogatepass")
        return message

    def _refs(self, tree: Any) -> Iterator[str]:
        for place in self._places:
            found = place(tree)
            for value in found if isinstance(found, list) else [found]:
                if isinstance(value, str | int) and not isinstance(value, bool):
                    ref = clean(str(value)).strip()
                    if ref and len(ref) <= LONGEST_REF:
                        yield ref

    def _replay_key_of(self, headers: Mapping[str, str], body: bytes, tree: Any) -> str:
        """Return the digest of what is the same for every repeat of an event, else of all of it."""
        named: Any = None
        if self._replay_key is not None:
            named = self._replay_key(tree)
        elif self._events.id_header is not None:
            named = _only(headers, self._events.id_header)
        if isinstance(named, str | int) and named != "":
            same = b"named\0" + str(named).encode("utf-8", "surrogatepass")
        else:
            moment = _only(headers, self._events.timestamp_header or "") or ""
            same = b"whole\0" + moment.encode("utf-8", "surrogatepass") + b"\0" + body
        return hashlib.sha256(same).hexdigest()


def _only(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header that is there exactly once: of two, readers may believe different ones."""
    values = [value for key, value in headers.items() if key.lower() == name.lower()]
    return values[0].strip(" \t") if len(values) == 1 else None


def _whole_number(text: str, unit: int) -> int | None:
    return int(text) * unit if re.fullmatch(r"[0-9]{1,15}", text) else None


def _rfc3339(text: str) -> int | None:
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return round(datetime.fromisoformat(text.upper()).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None


_MOMENTS: Final[Mapping[str, Callable[[str], int | None]]] = {
    "seconds": lambda text: _whole_number(text, 1_000),
    "milliseconds": lambda text: _whole_number(text, 1),
    "rfc3339": _rfc3339,
}
