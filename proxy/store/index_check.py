"""Compare every index of the store with the records, and correct the differences.

An index is derived from records, so it can always be made again. Each comparison is one atomic step
of the store, so it neither disturbs a running service nor is disturbed by it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from proxy.domain.models import State
from proxy.store.client.scripts import INDICES, IndicesArguments
from proxy.store.requests import RequestStore

_NOT_DONE: Final = " ".join(state for state in State if state is not State.DONE)
_PAGE: Final = 500

_MESSAGES: Final = {
    "unlisted": "its state is {index}, but the list of that state lacks it or has a wrong time",
    "listed": "it is in the list of state {index}, but its state is {stored}",
    "never due": "it is not in the list of due requests, so no worker continues it",
    "due": "it is in the list of due requests, but does not exist",
    "url": "the index of its URL ({index}) names {stored}, so a repeated hook call misses it",
    "ticket": "the index of its ticket ({index}) names {stored}, so events about it are missed",
    "shared": "its ticket ({index}) also belongs to request {stored}: compare the two requests",
    "stray": "the index {index} names it, but it has no such URL or ticket, or does not exist",
    "left": "data of it remain (kind {index}), but it has no record",
    "open": "the count of open requests is {index}, but there are {stored}",
}
_NOTHING: Final = {"listed": "unknown, because it does not exist", "url": "none", "ticket": "none"}
_NOT_REPAIRABLE: Final = {"shared", "left"}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A difference between an index and the records."""

    about: str
    """A correlation id; of a count, INSTANCE/SYSTEM."""
    kind: str
    """The kind of difference, a key of `_MESSAGES`."""
    index: str
    """The entry of the index, or the counted number."""
    stored: str
    """What the entry contains, or the number by the records; empty if there is none."""

    @property
    def repairable(self) -> bool:
        """True if the index can be made again from the records."""
        return self.kind not in _NOT_REPAIRABLE

    @property
    def message(self) -> str:
        """The difference and its effect, in one sentence."""
        stored = self.stored or _NOTHING.get(self.kind, "")
        return _MESSAGES[self.kind].format(index=self.index, stored=stored)


async def compare_indices(
    store: RequestStore, *, repair: bool = False, retention: int = 0
) -> AsyncIterator[Mismatch]:
    """Yield every difference between indices and records; with `repair`, it is corrected already.

    `retention` (ms) sets the due time of a finished request that is in no list of due requests.
    """
    args = IndicesArguments(store.time, int(repair), retention)
    tags, complete = store.keys.tags(), True
    async for page in store.batcher.scan(f"{{{store.keys.namespace}:*}}:*"):
        names = [_split(name.decode()) for name in page]
        own = [(tag, name) for tag, name in names if tag in tags]
        for mismatch in await _compare(store, args, own):
            complete = complete and (repair or mismatch.kind != "unlisted")
            yield mismatch
    for tag in tags:
        for index in ("due", *[f"s:{state}" for state in State]):
            async for members in _members(store, f"{tag}:{index}"):
                names = [(tag, f"{index}:{member}") for member in members]
                for mismatch in await _compare(store, args, names):
                    yield mismatch
    if complete:  # open requests are counted over the lists
        for mismatch in await _compare(store, args, [(tag, f"counts {_NOT_DONE}") for tag in tags]):
            yield mismatch


async def _compare(
    store: RequestStore, args: IndicesArguments, names: Iterable[tuple[str, str]]
) -> list[Mismatch]:
    """Compare what these names denote, each with the tag of its partition."""
    by_tag = groupby(sorted(names), key=lambda name: name[0])
    comparisons = [
        store.batcher.script(INDICES, [tag], args, [name for _, name in group])
        for tag, group in by_tag
    ]
    answers = await asyncio.gather(*comparisons)
    return [Mismatch(*[value.decode() for value in row]) for rows in answers for row in rows]


async def _members(store: RequestStore, key: str) -> AsyncIterator[list[str]]:
    """Yield the members of a sorted set, page by page; some perhaps twice."""
    cursor = 0
    while True:
        answer, page = await store.batcher.command("ZSCAN", key, cursor, "COUNT", _PAGE)
        yield [member.decode() for member in page[::2]]
        if not (cursor := int(answer)):
            break


def _split(name: str) -> tuple[str, str]:
    """Return the hash tag of a key, and the rest of its name."""
    tag, _, rest = name.partition("}:")
    return f"{tag}}}", rest
