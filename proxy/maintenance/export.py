"""Export and import of a whole store: for backups, and to change the index key.

A request keeps its correlation id, which its ticket contains, and thereby its partition. Only its
digests are made anew, under the present index key.
"""

import base64
import secrets
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import orjson

from proxy.audit.replay import reindexed
from proxy.errors import ConfigurationError
from proxy.maintenance import Progress, no_progress
from proxy.maintenance.export_file import (
    ExportFile,
    ExportWriter,
    Head,
    Origin,
    refuse_to_overwrite,
)
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import AuditStreams
from proxy.store.keys import Keys
from proxy.store.layout import IMPORTING, StoreLayout, sealed_placement
from proxy.store.requests import LAYOUT, RequestStore
from proxy.store.transfer.exporter import Item, items
from proxy.store.transfer.importer import Importer
from proxy.store.transfer.namespace import is_empty, last_changes, refuse_while_served, remove_all

_STREAM: Final = "exports"


async def export_store(
    store: RequestStore, path: Path, *, by: str, progress: Progress = no_progress
) -> Head:
    """Write everything in the namespace to a new file; the audit names `by` as the author.

    Raises:
        ConfigurationError: a service is running, something cannot be decrypted or written, or
            no key is configured to encrypt the file with.
    """
    ring = _ring(store)
    refuse_to_overwrite(path)
    await refuse_while_served(store)
    if await is_empty(store):
        raise ConfigurationError(f"store.namespace {store.keys.namespace} is empty.")
    await StoreLayout(store).connect()
    name = secrets.token_hex(8)
    await AuditStreams(store).append(_STREAM, {"event": "StoreExported", "by": by, "export": name})
    head = Head(
        id=name,
        at=await store.now(),
        namespace=store.keys.namespace,
        partitions=store.keys.partitions,
        layout=int(await store.batcher.command("HGET", store.keys.shared("meta"), "layout")),
        requests=sum((await store.counts()).values()),
        changed=await last_changes(store, store.keys),
    )
    with ExportWriter(path, ring, head, _origin(store)) as file:
        done = 0
        async for item in items(store, ring):
            file.add(item)
            done += item["kind"] == "request"
            progress(done, head.requests)
        if await last_changes(store, store.keys) != head.changed:
            raise ConfigurationError(
                "the store changed while it was exported: a service uses it. Stop all its"
                " processes, and do this again."
            )
        file.finish()
    return head


async def import_store(
    store: RequestStore,
    path: Path,
    *,
    by: str,
    replace: bool,
    progress: Progress = no_progress,
) -> Head:
    """Write an export into the namespace, which must be empty; the file is verified before that.

    With `replace`, the namespace may contain the exported store, unchanged: it is removed first.
    An interrupted import is started again.

    Raises:
        ConfigurationError: the file is damaged or of another layout, a service is running, or
            the namespace contains something else.
    """
    ring = _ring(store)
    file = ExportFile(path, ring)
    head = file.head
    _refuse_misfits(store, file, progress)
    await refuse_while_served(store)
    same = await _make_room(store, head, replace=replace)
    importer = Importer(store, ring, reindex=partial(reindexed, store.privacy), doubt=not same)
    for page in _items(file, progress, done=head.requests):
        await importer.write(page)
    await importer.finish()
    entry = {"event": "StoreImported", "by": by, "export": head.id, "of": head.namespace}
    await AuditStreams(store).append(_STREAM, entry)
    await _begin(store, ring, file)
    return head


def _items(file: ExportFile, progress: Progress, *, done: int) -> Iterator[list[Item]]:
    """Yield the items of each line and report progress; an import reads the file twice."""
    for items_of_line in file.items():
        yield items_of_line
        done += sum(item["kind"] == "request" for item in items_of_line)
        progress(done, 2 * file.head.requests)


def _refuse_misfits(store: RequestStore, file: ExportFile, progress: Progress) -> None:
    """Read the file to its end, and refuse an export that this store could not continue."""
    head, moves = file.head, file.head.partitions != store.keys.partitions
    if abs(head.layout - LAYOUT) > 1:
        raise ConfigurationError(
            f"the export has layout {head.layout}, but this version of the program reads"
            f" {LAYOUT - 1} to {LAYOUT + 1}. Import it with version {head.program}."
        )
    if moves and file.origin.scattered:
        raise ConfigurationError(
            "store.partitions: correlation ids made since the index key was changed fit into"
            f" {head.partitions} partitions only. Set store.partitions to {head.partitions}."
        )
    waiting = False
    for page in _items(file, progress, done=0):
        for item in page:
            waiting |= item["kind"] == "stream" and item["name"].isdigit() and bool(item["entries"])
    if moves and waiting:
        raise ConfigurationError(
            "store.partitions: changes wait to be written to the audit, which names partitions. Run"
            f" the service with {head.partitions} once more, stop it normally, and export again."
        )


async def _make_room(store: RequestStore, head: Head, *, replace: bool) -> bool:
    """Empty the namespace except for a mark; return True if it held the exported store.

    In that case nothing has happened since the export, and the requests' run ids remain valid.
    """
    meta, namespace = store.keys.shared("meta"), store.keys.namespace
    indices = (await store.batcher.command("HGET", meta, "indices") or b"").decode()
    mark = IMPORTING
    if indices.startswith(IMPORTING):
        mark = indices if indices == f"{IMPORTING} {head.id}" else IMPORTING
    elif not await is_empty(store):
        if not replace:
            raise ConfigurationError(
                f"store.namespace {namespace} is not empty. Name another one; or, to replace the"
                " store that was exported, give --replace."
            )
        keys = Keys(namespace, head.partitions)
        if head.namespace != namespace or await last_changes(store, keys) != head.changed:
            raise ConfigurationError(
                f"store.namespace {namespace} does not hold what was exported, or it changed since."
                " Nothing was replaced. Export again, once all processes of the service have"
                " stopped."
            )
        mark = f"{IMPORTING} {head.id}"
    await store.batcher.command("HSET", meta, "indices", mark)
    await remove_all(store)
    return mark != IMPORTING


async def _begin(store: RequestStore, ring: KeyRing, file: ExportFile) -> None:
    """Remove the mark, in one step with the layout that a program must know from now on."""
    head, origin, keys = file.head, file.origin, store.keys
    privacy, placement = store.privacy, ""
    if origin.scattered or origin.placement_key != privacy.index_key:
        privacy = privacy.with_placement(origin.placement_key)
        placement = sealed_placement(store, ring, origin.placement_key)
    names = dict.fromkeys([*map(tuple, origin.former), (head.namespace, head.partitions)])
    former = [name for name in names if name != (keys.namespace, keys.partitions)]
    meta = keys.shared("meta")
    layout = {"partitions": keys.partitions, "layout": head.layout, "indices": privacy.indices}
    layout |= {"placement": placement, "former": orjson.dumps(former)}
    await store.batcher.command("HSET", meta, *chain.from_iterable(layout.items()))
    await StoreLayout(store).connect()


def _origin(store: RequestStore) -> Origin:
    placed_by = store.privacy.placed_by
    key = (placed_by or store.privacy).index_key
    return Origin(
        placement=base64.b64encode(key).decode() if key else None,
        former=[(keys.namespace, keys.partitions) for keys in store.previous_namespaces],
        scattered=placed_by is not None,
    )


def _ring(store: RequestStore) -> KeyRing:
    if store.privacy.ring is None:
        raise ConfigurationError(
            "encryption.keys: an export contains what people asked for, and the settings have no"
            " key to encrypt it with. Make one with approval-proxy keys new --encryption; a store"
            " without encryption uses it from the next start on."
        )
    return store.privacy.ring
