"""What can be asked of the store without changing it; listings come from indices, never a scan."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from proxy.domain.models import Record, State, StoredRequest
from proxy.store.at_rest import Privacy
from proxy.store.client.pipeline import Batcher
from proxy.store.codec import ADMITTED, admission_entry, read_record, read_texts
from proxy.store.keys import Keys, is_id


class Reader:
    """Look-ups over all partitions, each one round trip."""

    def __init__(self, batcher: Batcher, keys: Keys, privacy: Privacy) -> None:
        self.batcher = batcher
        self.keys = keys
        self.privacy = privacy
        self.previous_namespaces: Sequence[
            Keys
        ] = ()  # under which names this store lay before it was imported

    async def load(self, correlation_id: str) -> StoredRequest | None:
        """Read one request, or None where there is none."""
        if not is_id(correlation_id):
            return None
        tag = self.keys.tag_of(correlation_id)
        record, payload, texts = await self.batcher.commands(
            [
                ("HGETALL", f"{tag}:r:{correlation_id}"),
                ("GET", f"{tag}:p:{correlation_id}"),
                ("HGETALL", f"{tag}:x:{correlation_id}"),
            ]
        )
        if not record:
            return None
        return self.entry(flat(record), payload, flat(texts))

    async def records(self, ids: Sequence[str]) -> list[Record]:
        """Read the records of several requests, and not what lies beside them; some may be gone."""
        asked = [("HGETALL", f"{self.keys.tag_of(each)}:r:{each}") for each in ids]
        return [read_record(flat(it)) for it in await self.batcher.commands(asked) if it]

    async def due(self, correlation_id: str) -> int | None:
        """Return when a request is looked at next: while a worker does, when its lease ends."""
        key = f"{self.keys.tag_of(correlation_id)}:due"
        score = await self.batcher.command("ZSCORE", key, correlation_id)
        return None if score is None else int(float(score))

    def entry(
        self,
        record: Sequence[bytes],
        payload: bytes | None,
        texts: Sequence[bytes],
        keys: Keys | None = None,
    ) -> StoredRequest:
        """Return what lies, or under former `keys` lay, at a request's keys; it may be encrypted.

        Raises:
            ConfigurationError: it is encrypted under a key that is missing, or was changed.
        """
        found = read_record(record)
        tag, show = (keys or self.keys).tag_of(found.id), self.privacy.decrypt
        names, values = texts[::2], texts[1::2]
        shown = [
            word
            for name, value in zip(names, values, strict=True)
            for word in (name, show(value, text_place(tag, found.id, name.decode())))
        ]
        body = show(payload, f"{tag}:p:{found.id}") if payload else b""
        return StoredRequest(found, read_texts(shown), body)

    async def history(self, correlation_id: str) -> list[Mapping[str, Any]]:
        """Return what happened to a request, oldest first; the admission from its record."""
        tag = self.keys.tag_of(correlation_id)
        record, lines = await self.batcher.commands(
            [
                ("HGETALL", f"{tag}:r:{correlation_id}"),
                ("LRANGE", f"{tag}:h:{correlation_id}", 0, -1),
            ]
        )
        told = [orjson.loads(line) for line in lines]
        if not record or (told and told[0]["event"] == ADMITTED):  # as version 0.1 wrote it
            return told
        return [admission_entry(read_record(flat(record))), *told]

    async def find(self, system: str, refs: Sequence[str]) -> list[str]:
        """Return the ids of requests that a ticket's id or key, or a correlation id, names."""
        found = {ref for ref in refs if is_id(ref)}
        gets = [
            ("GET", f"{tag}:t:{system}:{ref}")
            for tag in self.keys.tags()
            for ref in refs
            if not is_id(ref)
        ]
        answers = await self.batcher.commands(gets)
        return sorted(found | {answer.decode() for answer in answers if answer})

    async def next_due(self, tags: Sequence[str] | None = None) -> int | None:
        """Return the earliest due time over all partitions, or over those with these tags."""
        asked = self.keys.tags() if tags is None else tags
        heads = await self.batcher.commands(
            [("ZRANGE", f"{tag}:due", 0, 0, "WITHSCORES") for tag in asked]
        )
        return min((_score(head) for head in heads if head), default=None)

    async def counts(self) -> dict[State, int]:
        """Return how many requests are in each state."""
        sizes = await self.batcher.commands(
            [("ZCARD", f"{tag}:s:{state}") for state in State for tag in self.keys.tags()]
        )
        step = self.keys.partitions
        return {state: sum(sizes[i * step : (i + 1) * step]) for i, state in enumerate(State)}

    async def list_ids(
        self, states: Sequence[State], *, limit: int, before: int | None = None
    ) -> list[str]:
        """Return ids of requests in the states, newest first, admitted before a moment."""
        top = "+inf" if before is None else f"({before}"
        pages = await self.batcher.commands(
            [
                (
                    "ZREVRANGEBYSCORE",
                    f"{tag}:s:{state}",
                    top,
                    "-inf",
                    "WITHSCORES",
                    "LIMIT",
                    0,
                    limit,
                )
                for state in states
                for tag in self.keys.tags()
            ]
        )
        rows = [row for page in pages for row in _rows(page)]
        # as each page is sorted already: of one millisecond, the greatest id comes first
        rows.sort(key=lambda row: (row[1], row[0]), reverse=True)
        return [row[0] for row in rows[:limit]]

    async def open_counts(self) -> dict[tuple[str, str], int]:
        """Return how many open requests each (witboost instance, ticket system) has."""
        answers = await self.batcher.commands(
            [("HGETALL", f"{tag}:open") for tag in self.keys.tags()]
        )
        total: dict[tuple[str, str], int] = {}
        for answer in answers:
            words = flat(answer)
            for name, count in zip(words[::2], words[1::2], strict=True):
                instance, _, system = name.decode().partition("/")
                total[instance, system] = total.get((instance, system), 0) + int(count)
        return {pair: count for pair, count in total.items() if count > 0}


def text_place(tag: str, correlation_id: str, name: str) -> str:
    """Return where a text of a request lies."""
    return f"{tag}:x:{correlation_id}:{name}"


def flat(answer: Mapping[bytes, bytes] | Sequence[bytes]) -> Sequence[bytes]:
    """Return HGETALL's answer as the flat list a script would give (RESP3 has maps)."""
    if isinstance(answer, Mapping):
        return [word for pair in answer.items() for word in pair]
    return answer


def _rows(page: Sequence[Any]) -> list[tuple[str, int]]:
    """Return (member, score) of a WITHSCORES answer, in the shapes of RESP2 and RESP3."""
    if page and isinstance(page[0], tuple | list):
        return [(member.decode(), int(float(score))) for member, score in page]
    return [
        (member.decode(), int(float(score)))
        for member, score in zip(page[::2], page[1::2], strict=True)
    ]


def _score(head: Sequence[Any]) -> int:
    return _rows(head)[0][1]
