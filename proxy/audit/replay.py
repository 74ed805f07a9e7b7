"""Requests rebuilt from the audit's files: each one's last record, its history and its end."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import orjson

from proxy.audit.files import parsed
from proxy.audit.sealer import snapshot_name
from proxy.domain.events.callback import CallbackAccepted
from proxy.domain.models import Record, StoredRequest
from proxy.domain.replace import replace
from proxy.errors import ConfigurationError
from proxy.store.at_rest import Privacy
from proxy.store.audit_streams import read_snapshot
from proxy.store.codec import ADMITTED
from proxy.store.requests import RequestStore
from proxy.witboost.hook_call import content_of, respond_to

_NO_HISTORY: Final = (ADMITTED, "Hinted", "Expired")


@dataclass(slots=True)
class AuditedRequest:
    """One request as the audit has it."""

    id: str
    """Its correlation id."""
    first: str = ""
    """The first sealed snapshot, which holds the payload."""
    latest: str = ""
    """The last sealed snapshot, which holds the newest record."""
    history: list[bytes] = field(default_factory=list)
    """The lines after its admission, as the Lua scripts wrote them."""
    callback_accepted: bool = False
    """True if witboost accepted the callback."""
    expired: bool = False
    """True if its retention ended and the store removed it."""

    def entry(self, store: RequestStore) -> StoredRequest | None:
        """Return the request as it was last sealed, with digests under the present index key.

        None if the audit holds too little to rebuild it.

        Raises:
            ConfigurationError: its key is not in the ring, or the store has no ring.
        """
        if not self.latest:
            return None
        first, latest = (self._opened(sealed, store) for sealed in (self.first, self.latest))
        payload = latest.payload or first.payload
        if not payload:
            return None
        record = reindexed(store.privacy, latest.record, payload)
        return replace(latest, record=record, payload=payload)

    def _opened(self, sealed: str, store: RequestStore) -> StoredRequest:
        ring = store.privacy.ring
        if ring is None:
            raise ConfigurationError(
                "without encryption.keys the audit's records cannot be read. Restore the keys"
            )
        return read_snapshot(
            store, orjson.loads(ring.open(sealed.encode(), name=snapshot_name(self.id)))
        )


def replay(files: Iterable[Iterable[bytes]]) -> dict[str, AuditedRequest]:
    """Return every request in the audit's files, given oldest first, by its correlation id."""
    requests: dict[str, AuditedRequest] = {}
    seen: set[tuple[str, str]] = set()
    for lines in files:
        for text in lines:
            line = parsed(text)
            if line is None or not line.get("request") or (line["stream"], line["at"]) in seen:
                continue
            seen.add((line["stream"], line["at"]))  # a chain that forked has an entry twice
            request = requests.setdefault(line["request"], AuditedRequest(line["request"]))
            event = line["entry"]["event"]
            if event not in _NO_HISTORY:
                request.history.append(orjson.dumps(line["entry"]))
            request.callback_accepted |= event == CallbackAccepted.event_code
            request.expired = event == "Expired"
            if sealed := line.get("sealed"):
                request.first = request.first or sealed
                request.latest = sealed
    return requests


def reindexed(privacy: Privacy, record: Record, payload: bytes) -> Record:
    """Return a record with its digests under the present index key, as its admission made them."""
    content = hashlib.sha256(payload).hexdigest() if record.trial else content_of(payload)
    return replace(
        record,
        url_digest=privacy.digest(respond_to(payload)),
        content_digest=privacy.digest(content),
    )
