"""What the audit's files know of each request: its last record, its history, how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import orjson

from proxy.audit.files import parsed
from proxy.audit.indexing import reindexed
from proxy.audit.sealer import place_of
from proxy.domain.events.callback import CallbackAccepted
from proxy.domain.models import StoredRequest
from proxy.domain.replace import replace
from proxy.errors import ConfigurationError
from proxy.store.audit_streams import read_kept
from proxy.store.codec import ADMITTED
from proxy.store.requests import RequestStore

_NO_HISTORY: Final = (ADMITTED, "Hinted", "Expired")


@dataclass(slots=True)
class AuditedRequest:
    """One request, in the words of the audit; `first` holds its payload, `latest` its last record.

    `history` are the lines after its admission, as its steps wrote them.
    """

    id: str
    first: str = ""
    latest: str = ""
    history: list[bytes] = field(default_factory=list)
    told: bool = False
    expired: bool = False

    def entry(self, store: RequestStore) -> StoredRequest | None:
        """Return the request as it was last sealed, found by the index key in force.

        None where the audit holds too little.

        Raises:
            ConfigurationError: its key is not in the ring, or there is none.
        """
        if not self.latest:
            return None
        first, latest = (self._opened(it, store) for it in (self.first, self.latest))
        payload = latest.payload or first.payload
        if not payload:
            return None
        record = reindexed(store.privacy, latest.record, payload)
        return replace(latest, record=record, payload=payload)

    def _opened(self, sealed: str, store: RequestStore) -> StoredRequest:
        ring = store.privacy.ring
        if ring is None:
            raise ConfigurationError(
                "without encryption.keys the audit's records cannot be read. Put the keys back"
            )
        return read_kept(store, orjson.loads(ring.open(sealed.encode(), place=place_of(self.id))))


def recall(files: Iterable[Iterable[bytes]]) -> dict[str, AuditedRequest]:
    """Return every request in files of lines, oldest first."""
    found: dict[str, AuditedRequest] = {}
    seen: set[tuple[str, str]] = set()
    for lines in files:
        for text in lines:
            line = parsed(text)
            if line is None or not line.get("request") or (line["stream"], line["at"]) in seen:
                continue
            seen.add((line["stream"], line["at"]))  # a branch tells the same twice
            request = found.setdefault(line["request"], AuditedRequest(line["request"]))
            event = line["entry"]["event"]
            if event not in _NO_HISTORY:
                request.history.append(orjson.dumps(line["entry"]))
            request.told = request.told or event == CallbackAccepted.event_code
            request.expired = event == "Expired"
            if sealed := line.get("sealed"):
                request.first = request.first or sealed
                request.latest = sealed
    return found
