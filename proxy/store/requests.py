"""The store's atomic steps as typed functions; each one is a Lua script that is safe to repeat.

Time is the server's, so the clocks of web and worker machines do not matter; a store with a clock
of its own (tests) hands that time to the scripts instead.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.domain.clock import Clock
from proxy.domain.models import Record, StoredRequest
from proxy.domain.replace import replace
from proxy.errors import ConfigurationError, StaleError, SupersededError
from proxy.store.at_rest import Privacy
from proxy.store.client.cluster import Cluster, ClusterBatcher
from proxy.store.client.pipeline import Batcher
from proxy.store.client.scripts import load_script
from proxy.store.codec import ref_lines, refs, write_record, write_texts
from proxy.store.keys import Keys, new_id, unguessable
from proxy.store.queries import Reader, text_place

LAYOUT: Final = 1
"""Version of keys and fields. Code reads this one, the one before and the one after it, so that a
release that is rolled back finishes what the newer one began; unknown fields are kept."""
_MOST_CLAIMED: Final = 1_000
"""Records of one partition in one step: Lua hands a command a few thousand words at the most."""

Verdict = Literal["new", "same", "open", "used"]

_ADMIT, _CLAIM, _COMMIT, _HINT, _EXPIRE, _WHO, _RESERVE = map(
    load_script, ("admit", "claim", "commit", "hint", "expire", "who", "reserve")
)


class Admission(NamedTuple):
    """What a hook call brings, ready to be stored; a tuple is made in a third of the time."""

    respond_to: str
    content: str
    body: bytes
    request_id: str
    instance: str
    client: str
    system: str
    route: str
    decision_deadline: int
    reuse_after_final: bool


class Admitted(NamedTuple):
    """What became of a hook call; `id` is that of the request that stands."""

    verdict: Verdict
    id: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Records that this worker holds for one lease; `now` is the store's time.

    `run_ids` has, by its tag, that of the server of each partition in which a ticket is not known:
    it changes with every start, failover and restore.
    `unread` says of each due record that cannot be read why; it is tried again after its lease.
    """

    now: int
    entries: Sequence[StoredRequest]
    run_ids: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)


class RequestStore(Reader):
    """One partitioned record per request, and its indices, in one slot each."""

    def __init__(
        self,
        client: Redis | Cluster,
        *,
        namespace: str,
        partitions: int,
        clock: Clock | None = None,
        privacy: Privacy = Privacy(),  # noqa: B008 - an immutable value
    ) -> None:
        batcher = ClusterBatcher(client) if isinstance(client, Cluster) else Batcher(client)
        super().__init__(batcher, Keys(namespace, partitions), privacy)
        self.client: Any = client
        self._clock = clock
        self.run_ids: dict[str, str] = {}  # of each partition's server: written at admission
        self._turns = itertools.count(1)
        self._process = secrets.token_hex(8)
        self._operations = itertools.count()
        self._bits = unguessable()
        self._channel = self.keys.shared("wake")

    @property
    def time(self) -> str:
        """What scripts are told of the time; empty means the server's own."""
        return str(self._clock.now()) if self._clock else ""

    def operation(self) -> str:
        """Return a name that no other operation has: by it, a repeat is told from a new one."""
        return f"{self._process}.{next(self._operations)}"

    async def admit(self, admission: Admission) -> Admitted:
        """Store a hook call, durable when this returns, or find the request that it repeats."""
        digest = self.privacy.digest(admission.respond_to)
        place = self._place(admission.respond_to, digest)
        correlation_id, tag = new_id(place, next(self._bits)), self.keys.tag_of(place)
        verdict, found = await self.batcher.script(
            _ADMIT,
            [tag],
            [
                self.time,
                correlation_id,
                self.privacy.digest(admission.content),
                digest,
                self.privacy.encrypt(admission.body, f"{tag}:p:{correlation_id}"),
                int(admission.reuse_after_final),
                admission.decision_deadline,
                self._channel,
                admission.instance,
                admission.client,
                admission.system,
                admission.route,
                admission.request_id,
                self.run_ids.get(tag, ""),
                LAYOUT,
            ],
        )
        return Admitted(verdict.decode(), found.decode())

    def _place(self, respond_to: str, digest: str) -> str:
        """Return what chooses the partition of a URL, and begins the ids of its requests.

        Under an index key that was given up it tells no more than the partition.
        """
        first = self.privacy.placed_by
        return digest if first is None else self.keys.random_prefix_for(first.digest(respond_to))

    async def claim(
        self, *, worker: str, limit: int, lease: int, tags: Sequence[str] = ()
    ) -> Claim:
        """Take at most `limit` due records for `lease` milliseconds, evenly from these partitions.

        They are named by their tags; without any, it is all of them. More of them than records may
        be taken are asked some at a time: nothing is returned only where nothing was due.
        """
        tags = tags or self.keys.tags()
        start = next(self._turns) % len(tags)
        order, at_once = [*tags[start:], *tags[:start]], max(limit, 1)
        share = min(max(limit // len(tags), 1), _MOST_CLAIMED)
        args = [self.time, worker, self.operation(), share, lease]
        answers: dict[str, Any] = {}
        for first in range(0, len(order), at_once):
            some = order[first : first + at_once]
            asked = [self.batcher.script(_CLAIM, [tag], args) for tag in some]
            answers |= zip(some, await asyncio.gather(*asked, return_exceptions=True), strict=True)
            if any(it[2:] for it in answers.values() if isinstance(it, list)):
                break
        taken = {tag: it for tag, it in answers.items() if isinstance(it, list)}
        if not taken:  # of a cluster, a part may be there
            raise next(iter(answers.values()))
        unread: dict[str, str] = {}
        entries = list(self._readable([row for it in taken.values() for row in it[2:]], unread))
        run_ids = {tag: it[1].decode() for tag, it in taken.items() if it[1]}
        return Claim(min(int(it[0]) for it in taken.values()), entries, run_ids, unread)

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
        """Write what changed, if the fence still stands, and say when the record is due next.

        `due` None means never by itself; "keep" leaves lease and due time alone because the same
        worker goes on. `take_over` raises the fence, as an operator's action does: whoever works
        on the record now is refused.

        Raises:
            Stale: somebody else changed or claimed the record; reload and go on from there.
            Superseded: `only_newest` and a newer request has the same URL.
        """
        record = after.record
        fence = before.record.fence + take_over
        fields = write_record(record, before.record)
        found, known = refs(record), refs(before.record)
        tag = self.keys.tag_of(record.id)
        texts = [
            (name, self.privacy.encrypt(text.encode(), text_place(tag, record.id, name)))
            for name, text in write_texts(after.details, before.details)
        ]
        words = [
            record.id,
            self.operation(),
            before.record.fence,
            fence,
            "none" if due is None else due,
            b"\n".join(history),
            int(only_newest),
            ref_lines(found - known, known - found),
            self._channel,
            len(fields),
            *[word for pair in fields for word in pair],
            *[word for pair in texts for word in pair],
        ]
        verdict, detail = await self.batcher.script(_COMMIT, [tag], words)
        if verdict == b"superseded":
            raise SupersededError(detail.decode())
        if verdict != b"ok":
            raise StaleError(record.id)
        return replace(after, record=replace(record, fence=fence)) if take_over else after

    async def reserve(self, system: str, ticket_id: str, correlation_id: str, *, keep: int) -> str:
        """Return the request that alone may be given a ticket for `keep` milliseconds from now.

        Requests lie in different partitions, so no step can look at the tickets of all of them and
        write one; whoever holds this looks and writes before another one may look.
        """
        key = self.keys.taking(system, ticket_id)
        holder: bytes = await self.batcher.script(_RESERVE, [key], [correlation_id, keep])
        return holder.decode()

    async def refresh_run_ids(self) -> None:
        """Ask the server of each partition who it is: what is admitted from now on says so.

        After a restart, failover or restore it is another, which casts doubt on older intents.
        """
        tags = self.keys.tags()
        answers = await asyncio.gather(*(self.batcher.script(_WHO, [tag], []) for tag in tags))
        self.run_ids = {tag: it.decode() for tag, it in zip(tags, answers, strict=True)}

    def may_have_lost_intent(self, record: Record) -> bool:
        """Whether another server took the record in, so that a create may be missing from it."""
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
        """Call `wake` whenever something becomes due earlier than all else; runs until cancelled.

        A lost connection only costs a late wake-up, because sleepers are bounded.
        """
        while True:
            with contextlib.suppress(RedisError, OSError):
                async with self.client.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    async for _ in channel.listen():
                        wake()
            await asyncio.sleep(1.0)

    async def expire(self, record: Record) -> bool:
        """Remove a finished request and its index members; False if it is not finished."""
        args = [self.time, record.id, record.fence]
        return bool(await self.batcher.script(_EXPIRE, [self.keys.tag_of(record.id)], args))

    async def hint(self, correlation_id: str, *, interval: int, burst: int, by: str) -> str:
        """Make a pending request due soon: at most `burst` reads at once, then one per interval.

        `by` is the ticket system that pushed an event or listed a change, for the audit.
        Answers soon, planned (a read that comes later than this hint is due anyway) or ignored.
        """
        tag = self.keys.tag_of(correlation_id)
        args = [self.time, correlation_id, interval, burst, self._channel, by]
        verdict: bytes = await self.batcher.script(_HINT, [tag], args)
        return verdict.decode()

    def _readable(self, rows: Sequence[Any], unread: dict[str, str]) -> Iterator[StoredRequest]:
        """Return what can be read: one broken record must not stop all others."""
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
                unread[entry.record.id] = "its payload is gone; approval-proxy doctor says more"
            else:
                yield entry
