"""Restore a request in the store from the audit's copy."""

from collections.abc import Sequence
from itertools import chain

from proxy.domain.models import StoredRequest
from proxy.domain.replace import replace
from proxy.errors import StaleError, SupersededError
from proxy.store.client.scripts import RESTORE, RestoreArguments
from proxy.store.codec import ref_lines, refs, write_record, write_texts
from proxy.store.queries import flat
from proxy.store.requests import RequestStore


async def raw_history(store: RequestStore, correlation_id: str) -> list[bytes]:
    """Return the history of a request after its admission, line by line as it is stored."""
    key = f"{store.keys.tag_of(correlation_id)}:h:{correlation_id}"
    lines: list[bytes] = await store.batcher.command("LRANGE", key, 0, -1)
    return lines


async def load_without_payload(store: RequestStore, correlation_id: str) -> StoredRequest | None:
    """Return a request without reading its payload, or None if it does not exist.

    Raises:
        ConfigurationError: its texts are encrypted under a missing key, or were changed.
    """
    tag = store.keys.tag_of(correlation_id)
    commands = [("HGETALL", f"{tag}:{kind}:{correlation_id}") for kind in "rx"]
    record, texts = map(flat, await store.batcher.commands(commands))
    return store.entry(record, None, texts) if record else None


async def restore(
    store: RequestStore,
    stored: StoredRequest | None,
    audited: StoredRequest,
    history: Sequence[bytes],
    *,
    retention: int,
) -> None:
    """Replace `stored`, the record as it was read, by `audited`, with its history and indices.

    It is due at once, or when its deadline or its `retention` (ms) ends. The last line of the
    history is new, and goes into the audit. A worker that holds the record can no longer write it.

    Raises:
        StaleError: the record has changed since it was read.
        SupersededError: a newer request has the same URL.
    """
    old = stored.record if stored else None
    fence = max(old.fence if old else 0, audited.record.fence) + 1
    record, tag = replace(audited.record, fence=fence), store.keys.tag_of(audited.record.id)
    fields = dict(write_record(record)) | {"state": record.state.value, "fence": str(record.fence)}
    payload = audited.payload and store.privacy.encrypt(audited.payload, f"{tag}:p:{record.id}")
    args = RestoreArguments(
        now=store.time,
        id=record.id,
        operation=store.operation(),
        fence=old.fence if old else "",
        retention=retention,
        references=ref_lines(refs(record), refs(old) - refs(record) if old else ()),
        payload=payload,
        history_count=len(history),
        field_count=len(fields),
    )
    texts = store.encrypt_texts(record.id, write_texts(audited.details))
    values = [*history, *chain.from_iterable(fields.items()), *texts]
    verdict = await store.batcher.script(RESTORE, [tag], args, values)
    if verdict == b"superseded":
        raise SupersededError(record.id)
    if verdict != b"ok":
        raise StaleError(record.id)
