"""Queries that do not change the store; listings come from indices, never from a scan."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.domain.clock import Clock
from proxy.domain.models import Record, State, StoredRequest
from proxy.store.at_rest import Privacy
from proxy.store.client.cluster import Cluster, ClusterBatcher
from proxy.store.client.pipeline import Batcher
from proxy.store.client.scripts import RUN_ID, NoArguments
from proxy.store.codec import ADMITTED, admission_entry, read_record, read_texts
from proxy.store.keys import Keys, is_id

Value = TypeVar("Value", str, bytes)


class Reader:
    """Queries over all partitions, each in one round trip."""

    def __init__(
        self, client: Redis | Cluster, keys: Keys, privacy: Privacy, clock: Clock | None
    ) -> None:
        self.client: Any = client
        self.batcher = ClusterBatcher(client) if isinstance(client, Cluster) else Batcher(client)
        self.run_ids: dict[str, str] = {}
        """The run id of each partition's server, by tag; stored at admission."""
        self._clock = clock
        self.keys = keys
        self.privacy = privacy
        self.previous_namespaces: Sequence[Keys] = ()
        """The keys of this store before each of its imports."""

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
        """Read the records of several requests, without their texts; some may be gone."""
        commands = [("HGETALL", f"{self.keys.tag_of(request)}:r:{request}") for request in ids]
        answers = await self.batcher.commands(commands)
        return [read_record(flat(answer)) for answer in answers if answer]

    async def due(self, correlation_id: str) -> int | None:
        """Return when a request is due next; while a worker holds it, when its lease ends."""
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
        """Return a request from its stored values, which may have been encrypted for other `keys`.

        Raises:
            ConfigurationError: something is encrypted under a missing key, or was changed.
        """
        fields = read_record(record)
        tag = (keys or self.keys).tag_of(fields.id)
        plain = self.decrypt_texts(tag, fields.id, texts)
        body = self.privacy.decrypt(payload, f"{tag}:p:{fields.id}") if payload else b""
        return StoredRequest(fields, read_texts(plain), body)

    def encrypt_texts(self, correlation_id: str, texts: Iterable[tuple[str, bytes]]) -> list[Any]:
        """Return the names and values of a request's texts as they are stored, as a flat list."""
        tag, encrypt = self.keys.tag_of(correlation_id), self.privacy.encrypt
        return [
            value
            for name, text in texts
            for value in (name, encrypt(text, text_name(tag, correlation_id, name)))
        ]

    def decrypt_texts(self, tag: str, correlation_id: str, texts: Sequence[bytes]) -> list[bytes]:
        """Return a flat list of names and stored values with the values in clear."""
        decrypt = self.privacy.decrypt
        return [
            value
            for name, text in pairs(texts)
            for value in (name, decrypt(text, text_name(tag, correlation_id, name.decode())))
        ]

    async def history(self, correlation_id: str) -> list[Mapping[str, Any]]:
        """Return a request's history, oldest first; its admission comes from its record."""
        tag = self.keys.tag_of(correlation_id)
        record, lines = await self.batcher.commands(
            [
                ("HGETALL", f"{tag}:r:{correlation_id}"),
                ("LRANGE", f"{tag}:h:{correlation_id}", 0, -1),
            ]
        )
        entries = [orjson.loads(line) for line in lines]
        if not record or (entries and entries[0]["event"] == ADMITTED):  # as version 0.1 wrote it
            return entries
        return [admission_entry(read_record(flat(record))), *entries]

    async def find(self, system: str, refs: Sequence[str]) -> list[str]:
        """Return the ids of requests that these ticket ids, keys or correlation ids name."""
        ids = {ref for ref in refs if is_id(ref)}
        gets = [
            ("GET", f"{tag}:t:{system}:{ref}")
            for tag in self.keys.tags()
            for ref in refs
            if not is_id(ref)
        ]
        answers = await self.batcher.commands(gets)
        return sorted(ids | {answer.decode() for answer in answers if answer})

    async def next_due(self, tags: Sequence[str] | None = None) -> int | None:
        """Return the earliest due time over all partitions, or over those with these tags."""
        tags = self.keys.tags() if tags is None else tags
        heads = await self.batcher.commands(
            [("ZRANGE", f"{tag}:due", 0, 0, "WITHSCORES") for tag in tags]
        )
        return min((_rows(head)[0][1] for head in heads if head), default=None)

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
        top, scores = "+inf" if before is None else f"({before}", ("WITHSCORES", "LIMIT", 0, limit)
        pages = await self.batcher.commands(
            [
                ("ZREVRANGEBYSCORE", f"{tag}:s:{state}", top, "-inf", *scores)
                for state in states
                for tag in self.keys.tags()
            ]
        )
        rows = [row for page in pages for row in _rows(page)]
        # each page is sorted in this way: within one millisecond, the greatest id comes first
        rows.sort(key=lambda row: (row[1], row[0]), reverse=True)
        return [row[0] for row in rows[:limit]]

    async def open_counts(self) -> dict[tuple[str, str], int]:
        """Return how many open requests each (witboost instance, ticket system) has."""
        answers = await self.batcher.commands(
            [("HGETALL", f"{tag}:open") for tag in self.keys.tags()]
        )
        total: dict[tuple[str, str], int] = {}
        for answer in answers:
            for name, count in pairs(flat(answer)):
                instance, _, system = name.decode().partition("/")
                total[instance, system] = total.get((instance, system), 0) + int(count)
        return {pair: count for pair, count in total.items() if count > 0}

    async def refresh_run_ids(self) -> None:
        """Read the run id of each partition's server, for the requests admitted from now on.

        A restart, failover or restore changes it; intents recorded before that may be lost.
        """
        tags, nothing = self.keys.tags(), NoArguments()
        answers = await asyncio.gather(*(self.batcher.script(RUN_ID, [t], nothing) for t in tags))
        self.run_ids = {tag: run_id.decode() for tag, run_id in zip(tags, answers, strict=True)}

    def may_have_lost_intent(self, record: Record) -> bool:
        """True if another server admitted the record, so a recorded create may be lost."""
        server = self.run_ids.get(self.keys.tag_of(record.id))
        return bool(
            record.may_have_unknown_ticket and record.run_id and server and server != record.run_id
        )

    async def now(self) -> int:
        """Return the store's time in milliseconds."""
        if self._clock:
            return self._clock.now()
        seconds, micros = await self.batcher.command("TIME")
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def listen(self, wake: Callable[[], object]) -> None:
        """Call `wake` when a request becomes due before all others; run until cancelled.

        A lost connection only delays a wake-up: workers never sleep long.
        """
        while True:
            with contextlib.suppress(RedisError, OSError):
                async with self.client.pubsub() as channel:
                    await channel.subscribe(self.keys.shared("wake"))
                    async for _ in channel.listen():
                        wake()
            await asyncio.sleep(1.0)


def text_name(tag: str, correlation_id: str, name: str) -> str:
    """Return the name for which a text of a request is encrypted."""
    return f"{tag}:x:{correlation_id}:{name}"


def flat(answer: Mapping[bytes, bytes] | Sequence[bytes]) -> Sequence[bytes]:
    """Return HGETALL's answer as the flat list a script would give (RESP3 has maps)."""
    return list(chain.from_iterable(answer.items())) if isinstance(answer, Mapping) else answer


def pairs(values: Sequence[Value]) -> Iterable[tuple[Value, Value]]:
    """Return a flat list of names and values as pairs."""
    return zip(values[::2], values[1::2], strict=True)


def _rows(page: Sequence[Any]) -> list[tuple[str, int]]:
    """Return (member, score) of a WITHSCORES answer, in the shapes of RESP2 and RESP3."""
    rows = page if page and isinstance(page[0], tuple | list) else pairs(page)
    return [(member.decode(), int(float(score))) for member, score in rows]
