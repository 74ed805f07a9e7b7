"""Verification of events and extraction of the tickets that they name: pure, no I/O.

Every refusal has the same error, because a more precise one would help an attacker.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from proxy.domain.models import TicketHint
from proxy.domain.text import clean
from proxy.errors import InvalidRequestError, UnauthorizedError
from proxy.tickets.declaring.expressions import compile_path
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.jwt import SignedToken
from proxy.tickets.events.proofs import (
    PresentedSecret,
    Proof,
    Secrets,
    Signature,
    as_bytes,
    is_timely,
    single_header,
)

MOST_REFS: Final = 100
LONGEST_REF: Final = 255
_REFUSED: Final = "the event does not prove that it comes from the ticket system"
_PROOFS: Final[Mapping[str, type[PresentedSecret | Signature | SignedToken]]] = {
    "hmac": Signature,
    "jwt": SignedToken,
    "static_header": PresentedSecret,
    "basic": PresentedSecret,
    "client_certificate": PresentedSecret,
}


class EventReader:
    """Verifies and reads the events of one system; any of several live secrets is enough.

    `secrets` is called for each event, so that secrets can be replaced meanwhile.
    """

    def __init__(self, events: Events, secrets: Secrets) -> None:
        self._events = events
        self._proof: Proof = _PROOFS[events.auth](events, secrets)
        paths = (events.ticket,) if isinstance(events.ticket, str) else events.ticket
        self._places = [compile_path(path) for path in paths]
        self._replay_key = compile_path(events.replay_key) if events.replay_key else None
        self._sent_at = compile_path(events.sent_at) if events.sent_at else None

    def read(self, headers: Mapping[str, str], body: bytes, *, now: int) -> TicketHint:
        """Return the tickets that a verified event names; `now` is in milliseconds since the epoch.

        Raises:
            UnauthorizedError: the proof is wrong.
            InvalidRequestError: the proof is right, but the event names no ticket.
        """
        if not self._proof.is_valid(headers, body, now=now):
            raise UnauthorizedError(_REFUSED)
        try:
            tree = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequestError(f"body: is not JSON ({error.msg})") from error
        if self._sent_at is not None and not is_timely(self._events, self._sent_at(tree), now):
            raise UnauthorizedError(_REFUSED)
        refs = tuple(dict.fromkeys(self._refs(tree)))[:MOST_REFS]
        if not refs:
            raise InvalidRequestError("body: names no ticket where the settings expect one")
        return TicketHint(refs, tuple(self._replay_keys_of(headers, body, tree)))

    def _refs(self, tree: Any) -> Iterator[str]:
        for find in self._places:
            names = find(tree)
            for value in names if isinstance(names, list) else [names]:
                if isinstance(value, str | int) and not isinstance(value, bool):
                    ref = clean(str(value)).strip()
                    if ref and len(ref) <= LONGEST_REF:
                        yield ref

    def _replay_keys_of(self, headers: Mapping[str, str], body: bytes, tree: Any) -> Iterator[str]:
        """Yield digests that are equal for every repetition of an event.

        An attacker who repeats an event can change an id that the signature does not cover, so the
        signed content counts too, if a time in it distinguishes it from the next event.
        """
        events = self._events
        named: Any = None
        if self._replay_key is not None:
            named = self._replay_key(tree)
        elif events.id_header is not None:
            named = single_header(headers, events.id_header)
        is_named = isinstance(named, str | int) and named != ""
        covered = self._replay_key is not None or "{id}" in events.signed
        if not is_named or (not covered and (events.timestamp_header or events.sent_at)):
            moment = single_header(headers, events.timestamp_header or "") or ""
            yield _digest(b"whole", as_bytes(moment), body)
        if is_named:
            yield _digest(b"named", as_bytes(str(named)))


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
