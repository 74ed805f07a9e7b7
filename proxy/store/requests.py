"""The store's atomic steps as typed functions; each runs a Lua script that is safe to repeat.

Times are the server's, so the clocks of web and worker machines do not matter; a store with a clock
of its own (tests) passes that time to the scripts.
"""

import asyncio
import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

from redis.asyncio import Redis

from proxy.domain.clock import Clock
from proxy.domain.models import Record, StoredRequest
from proxy.domain.replace import replace
from proxy.errors import ConfigurationError, StaleError, SupersededError
from proxy.store.at_rest import Privacy
from proxy.store.client.cluster import Cluster
from proxy.store.client.scripts import (
    ADMIT,
    CLAIM,
    COMMIT,
    EXPIRE,
    HINT,
    RESERVE,
    AdmitArguments,
    ClaimArguments,
    CommitArguments,
    ExpireArguments,
    HintArguments,
    ReserveArguments,
)
from proxy.store.codec import ref_changes, write_record, write_texts
from proxy.store.keys import Keys, new_id, unguessable
from proxy.store.queries import Reader

LAYOUT: Final = 1
"""Version of keys and fields. The code reads this version, the one before and the one after it, so
that a release that is rolled back finishes what the newer one began; unknown fields are kept."""
_MAX_CLAIM: Final = 1_000
"""Records of one partition in one step: Lua passes a command a few thousand values at most."""

Verdict = Literal["new", "same", "open", "used"]


class Admission(NamedTuple):
    """A hook call, ready to be stored; a tuple is made in a third of a dataclass's time."""

    respond_to: str
    """Its normalised respondToUrl."""
    content: str
    """What distinguishes it from another call with that URL; stored as a digest."""
    body: bytes
    """The body as it came; encrypted if there is a key ring."""
    request_id: str
    """The X-Request-Id under which it is logged."""
    instance: str
    """The witboost instance that called."""
    client: str
    """The API client that called."""
    system: str
    """The ticket system of its route; empty without one."""
    route: str
    """The hash of its frozen route."""
    decision_deadline: int
    """Milliseconds within which it is decided."""
    reuse_after_final: bool
    """True if a new request may have the URL of a final one."""


class Admitted(NamedTuple):
    """The result of a hook call."""

    verdict: Verdict
    """new; same (a repeat); open or used (other content for a URL that has a request)."""
    id: str
    """The correlation id of the request that has the URL now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Records that this worker holds for one lease."""

    now: int
    """The store's time, in ms since the epoch."""
    entries: Sequence[StoredRequest]
    """The claimed requests."""
    run_ids: Mapping[str, str] = field(default_factory=dict)
    """The server's run id by partition tag, for partitions with a claimed record without a ticket;
    it changes with every start, failover and restore."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """By correlation id, why a due record cannot be read; it is retried after its lease."""


class RequestStore(Reader):
    """The requests: one record each, in one slot with its indices."""

    def __init__(
        self,
        client: Redis | Cluster,
        *,
        namespace: str,
        partitions: int,
        clock: Clock | None = None,
        privacy: Privacy = Privacy(),  # noqa: B008 - an immutable value
    ) -> None:
        super().__init__(client, Keys(namespace, partitions), privacy, clock)
        self._turns = itertools.count(1)
        self._process = secrets.token_hex(8)
        self._operations = itertools.count()
        self._bits = unguessable()

    @property
    def time(self) -> str:
        """The time as scripts take it; empty means the server's clock."""
        return str(self._clock.now()) if self._clock else ""

    def operation(self) -> str:
        """Return a name that no other operation has, so that a script recognises a repeat."""
        return f"{self._process}.{next(self._operations)}"

    async def admit(self, admission: Admission) -> Admitted:
        """Store a hook call, durable when this returns, or find the request that it repeats."""
        digest = self.privacy.digest(admission.respond_to)
        prefix = self._id_prefix(admission.respond_to, digest)
        correlation_id, tag = new_id(prefix, next(self._bits)), self.keys.tag_of(prefix)
        verdict, current = await self.batcher.script(
            ADMIT,
            [tag],
            AdmitArguments(
                now=self.time,
                id=correlation_id,
                content_digest=self.privacy.digest(admission.content),
                url_digest=digest,
                payload=self.privacy.encrypt(admission.body, f"{tag}:p:{correlation_id}"),
                reuse_after_final=int(admission.reuse_after_final),
                decision_deadline=admission.decision_deadline,
                instance=admission.instance,
                client=admission.client,
                system=admission.system,
                route=admission.route,
                request_id=admission.request_id,
                server_run_id=self.run_ids.get(tag, ""),
                version=LAYOUT,
            ),
        )
        return Admitted(verdict.decode(), current.decode())

    def _id_prefix(self, respond_to: str, digest: str) -> str:
        """Return the beginning of a correlation id, which chooses the partition of its URL.

        In a store that was imported under another index key it reveals only the partition.
        """
        first = self.privacy.placed_by
        return digest if first is None else self.keys.random_prefix_for(first.digest(respond_to))

    async def claim(
        self, *, worker: str, limit: int, lease: int, tags: Sequence[str] = ()
    ) -> Claim:
        """Claim at most `limit` due records for `lease` ms, evenly from the partitions `tags`.

        Without `tags`, from all partitions. If there are more of them than `limit`, they are asked
        in groups until one has a due record: the result is empty only if nothing was due.
        """
        tags = tags or self.keys.tags()
        start = next(self._turns) % len(tags)
        order, at_once = [*tags[start:], *tags[:start]], max(limit, 1)
        share = min(max(limit // len(tags), 1), _MAX_CLAIM)
        args = ClaimArguments(self.time, worker, self.operation(), limit=share, lease=lease)
        answers: dict[str, Any] = {}
        for first in range(0, len(order), at_once):
            group = order[first : first + at_once]
            claims = [self.batcher.script(CLAIM, [tag], args) for tag in group]
            results = await asyncio.gather(*claims, return_exceptions=True)
            answers |= zip(group, results, strict=True)
            if any(answer[2:] for answer in results if isinstance(answer, list)):
                break
        claimed = {tag: answer for tag, answer in answers.items() if isinstance(answer, list)}
        if not claimed:  # in a cluster, some partitions may answer and others not
            raise next(iter(answers.values()))
        unread: dict[str, str] = {}
        rows = [row for answer in claimed.values() for row in answer[2:]]
        entries = list(self._readable(rows, unread))
        run_ids = {tag: answer[1].decode() for tag, answer in claimed.items() if answer[1]}
        return Claim(min(int(answer[0]) for answer in claimed.values()), entries, run_ids, unread)

    async def commit(
        self,
        before: StoredRequest,
        after: StoredRequest,
        history: Sequence[bytes] = (),
        *,
        due: int | Literal["keep"] | None,
        take_over: bool = False,
        only_newest: bool = False,
    ) -> StoredRequest:
        """Write what changed, if the record's fence is unchanged, and set when it is due next.

        `due` None means never by itself; "keep" keeps lease and due time. `take_over`
        raises the fence, as an operator's action does, so that a worker's late write is refused.

        Raises:
            StaleError: another process changed or claimed the record; reload it.
            SupersededError: `only_newest` and a newer request has the same URL.
        """
        record, fence = after.record, before.record.fence + take_over
        fields = write_record(record, before.record)
        args = CommitArguments(
            id=record.id,
            operation=self.operation(),
            expected_fence=before.record.fence,
            fence=fence,
            due="none" if due is None else due,
            history=b"\n".join(history),
            only_newest=int(only_newest),
            references=ref_changes(before.record, record),
            field_count=len(fields),
        )
        texts = self.encrypt_texts(record.id, write_texts(after.details, before.details))
        values, tag = [*chain.from_iterable(fields), *texts], self.keys.tag_of(record.id)
        verdict, detail = await self.batcher.script(COMMIT, [tag], args, values)
        if verdict == b"superseded":
            raise SupersededError(detail.decode())
        if verdict != b"ok":
            raise StaleError(record.id)
        return replace(after, record=replace(record, fence=fence)) if take_over else after

    async def reserve(self, system: str, ticket_id: str, correlation_id: str, *, keep: int) -> str:
        """Return the request that alone may be given this ticket for the next `keep` ms.

        Requests are in different partitions, so no single step can search all of them for a ticket
        and write one; the holder searches and writes before another request may search.
        """
        args = ReserveArguments(holder=correlation_id, duration=keep)
        holder: bytes = await self.batcher.script(
            RESERVE, [self.keys.taking(system, ticket_id)], args
        )
        return holder.decode()

    async def expire(self, record: Record) -> bool:
        """Remove a finished request and its index entries; False if it is not finished."""
        args = ExpireArguments(self.time, id=record.id, fence=record.fence)
        return bool(await self.batcher.script(EXPIRE, [self.keys.tag_of(record.id)], args))

    async def hint(self, correlation_id: str, *, interval: int, burst: int, by: str) -> str:
        """Make a pending request due soon: at most `burst` reads at once, then one per interval.

        `by` is the ticket system that pushed an event or listed a change, for the audit.
        Returns soon, planned (a read after this hint is due anyway) or ignored.
        """
        args = HintArguments(self.time, correlation_id, interval=interval, burst=burst, source=by)
        verdict: bytes = await self.batcher.script(HINT, [self.keys.tag_of(correlation_id)], args)
        return verdict.decode()

    def _readable(self, rows: Sequence[Any], unread: dict[str, str]) -> Iterator[StoredRequest]:
        """Yield the records that can be read: a damaged one must not stop the others."""
        for record, payload, texts in rows:
            try:
                entry = self.entry(record, payload, texts)
            except (ValueError, ConfigurationError) as error:
                named = dict(zip(record[::2], record[1::2], strict=True))
                unread[named.get(b"id", b"").decode()] = str(error)
                continue
            if entry.record.version > LAYOUT + 1:
                unread[entry.record.id] = "a much newer version of this program made it"
            elif not (entry.payload or entry.record.final):
                unread[entry.record.id] = "its payload is gone; run approval-proxy doctor"
            else:
                yield entry
