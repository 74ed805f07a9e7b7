"""What the audit's files know of each request: its last record, its history, how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import orjson

from proxy.audit.files import parsed
from proxy.audit.sealer import place_of
from proxy.domain.events import CalledBack
from proxy.domain.models import Entry
from proxy.domain.values import replace
from proxy.encryption import KeyRing
from proxy.store.codec import ADMITTED, read_record, read_texts

_NO_HISTORY: Final = (ADMITTED, "Hinted", "Expired")


@dataclass(slots=True)
class Remembered:
    """One request, in the words of the audit; `first` holds its payload, `latest` its last record.

    `history` are the lines after its admission, as its steps wrote them.
    """

    id: str
    first: str = ""
    latest: str = ""
    history: list[bytes] = field(default_factory=list)
    told: bool = False
    expired: bool = False

    def entry(self, ring: KeyRing) -> Entry | None:
        """Return the request as it was last sealed; None where the audit holds too little.

        Raises:
            ConfigurationError: its key is not in the ring.
        """
        if not self.latest:
            return None
        first, latest = (_opened(it, self.id, ring) for it in (self.first, self.latest))
        payload = latest.payload or first.payload
        return replace(latest, payload=payload) if payload else None


def recall(files: Iterable[Iterable[bytes]]) -> dict[str, Remembered]:
    """Return every request in files of lines, oldest first."""
    found: dict[str, Remembered] = {}
    seen: set[tuple[str, str]] = set()
    for lines in files:
        for text in lines:
            line = parsed(text)
            if line is None or not line.get("request") or (line["stream"], line["at"]) in seen:
                continue
            seen.add((line["stream"], line["at"]))  # a branch tells the same twice
            request = found.setdefault(line["request"], Remembered(line["request"]))
            event = line["entry"]["event"]
            if event not in _NO_HISTORY:
                request.history.append(orjson.dumps(line["entry"]))
            request.told = request.told or event == CalledBack.__name__
            request.expired = event == "Expired"
            if sealed := line.get("sealed"):
                request.first = request.first or sealed
                request.latest = sealed
    return found


def _opened(sealed: str, request: str, ring: KeyRing) -> Entry:
    whole = orjson.loads(ring.open(sealed.encode(), place=place_of(request)))
    record, texts = (
        [word.encode() for pair in whole[part].items() for word in pair]
        for part in ("record", "texts")
    )
    return Entry(read_record(record), read_texts(texts), whole["payload"].encode())
