"""Writing a request back into the store, as what is known of it outside has it."""

from collections.abc import Sequence
from typing import Any, Final

from proxy.domain.models import Details, StoredRequest
from proxy.domain.replace import replace
from proxy.errors import StaleError, SupersededError
from proxy.store.client.scripts import load_script
from proxy.store.codec import ref_lines, refs, write_record, write_texts
from proxy.store.queries import flat, text_place
from proxy.store.requests import RequestStore

_RESTORE: Final = load_script("restore")


async def raw_history(store: RequestStore, correlation_id: str) -> list[bytes]:
    """Return the history of a request after its admission, as its steps wrote it."""
    key = f"{store.keys.tag_of(correlation_id)}:h:{correlation_id}"
    lines: list[bytes] = await store.batcher.command("LRANGE", key, 0, -1)
    return lines


async def bare(store: RequestStore, correlation_id: str) -> StoredRequest | None:
    """Return a request without its payload, whatever that is; None where there is no request.

    Raises:
        ConfigurationError: its texts are encrypted under a key that is missing, or were changed.
    """
    tag = store.keys.tag_of(correlation_id)
    asked = [("HGETALL", f"{tag}:{kind}:{correlation_id}") for kind in "rx"]
    record, texts = map(flat, await store.batcher.commands(asked))
    return store.entry(record, None, texts) if record else None


async def restore(
    store: RequestStore,
    found: StoredRequest | None,
    known: StoredRequest,
    history: Sequence[bytes],
    *,
    retention: int,
) -> None:
    """Write `known` in place of `found`, the record as it is, with its history and indices.

    It is due at once, or when its deadline or its `retention` (ms) ends.
    The last line of the history is new, and goes into the audit. Whoever holds the record is
    refused from then on.

    Raises:
        Stale: the record is not as it was found any more.
        Superseded: a newer request has the same URL.
    """
    fence = max(found.record.fence if found else 0, known.record.fence) + 1
    record = replace(known.record, fence=fence)
    words = [
        store.time,
        record.id,
        store.operation(),
        found.record.fence if found else "",
        retention,
        store.keys.shared("wake"),
        ref_lines(refs(record), refs(found.record) - refs(record) if found else ()),
        *_written(store, replace(known, record=record), history),
    ]
    tag = store.keys.tag_of(record.id)
    verdict = await store.batcher.script(_RESTORE, [tag], words)
    if verdict == b"superseded":
        raise SupersededError(record.id)
    if verdict != b"ok":
        raise StaleError(record.id)


def _written(store: RequestStore, entry: StoredRequest, history: Sequence[bytes]) -> list[Any]:
    """Return payload, history, record and texts as the step takes them."""
    record, tag = entry.record, store.keys.tag_of(entry.record.id)
    fields = dict(write_record(record)) | {"state": record.state.value, "fence": str(record.fence)}
    texts = [
        (name, store.privacy.encrypt(text.encode(), text_place(tag, record.id, name)))
        for name, text in write_texts(entry.details, Details())
    ]
    payload = store.privacy.encrypt(entry.payload, f"{tag}:p:{record.id}") if entry.payload else b""
    return [
        payload,
        len(history),
        *history,
        len(fields),
        *[word for pair in fields.items() for word in pair],
        *[word for pair in texts for word in pair],
    ]
