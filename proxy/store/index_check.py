"""Whether every index of the store says what the records say, and putting right what does not.

An index is derived from records, so it can always be made again. Each comparison is one step of the
store, so that a service beside it neither disturbs it nor is disturbed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from proxy.domain.models import State
from proxy.store.client.scripts import load_script
from proxy.store.requests import RequestStore

_INDICES: Final = load_script("indices")
_UNDONE: Final = " ".join(state for state in State if state is not State.DONE)
_PAGE: Final = 500

_SAYS: Final = {
    "unlisted": "it is {index}, and is missing, or misplaced, in the list of such requests",
    "listed": "it is in the list of requests that are {index}, and is {found}",
    "never due": "it is missing from what is due, so nobody would go on with it",
    "due": "it is due, and is gone",
    "url": "the entry of its URL ({index}) leads to {found}: a repeated hook call does not find it",
    "ticket": "the entry of its ticket ({index}) leads to {found}: events about it do not find it",
    "shared": "its ticket ({index}) is also that of request {found}: look at both",
    "stray": "{index} leads to it, and it has no such URL or ticket, or is gone",
    "left": "what lies beside its record ({index}) is there, and the record is gone",
    "open": "{index} open requests are counted, and there are {found}",
}
_NOBODY: Final = {"listed": "gone", "url": "nobody", "ticket": "nobody"}
_FOR_A_PERSON: Final = {"shared", "left"}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An index that differs from the records; `about` is a correlation id, or what is counted."""

    about: str
    what: str
    index: str
    found: str

    @property
    def mendable(self) -> bool:
        """Whether the records say how it should be."""
        return self.what not in _FOR_A_PERSON

    @property
    def says(self) -> str:
        """What differs, and what that means, in one sentence."""
        found = self.found or _NOBODY.get(self.what, "")
        return _SAYS[self.what].format(index=self.index, found=found)


async def compare_indices(
    store: RequestStore, *, mend: bool = False, retention: int = 0
) -> AsyncIterator[Mismatch]:
    """Yield every difference between indices and records; with `mend`, it is put right already.

    `retention` (ms) says when a finished request that nobody would remove is due again.
    """
    comparison = _Comparison(store, ["1" if mend else "", retention])
    tags, complete = store.keys.tags(), True
    async for page in store.batcher.scan(f"{{{store.keys.namespace}:*}}:*"):
        names = [_parted(name.decode()) for name in page]
        for mismatch in await comparison.of(it for it in names if it[0] in tags):
            complete = complete and (mend or mismatch.what != "unlisted")
            yield mismatch
    for tag in tags:
        for index in ("due", *[f"s:{state}" for state in State]):
            async for members in _members(store, f"{tag}:{index}"):
                for mismatch in await comparison.of((tag, f"{index}:{it}") for it in members):
                    yield mismatch
    if complete:  # what is open is counted over the lists
        for mismatch in await comparison.of((tag, f"counts {_UNDONE}") for tag in tags):
            yield mismatch


class _Comparison:
    def __init__(self, store: RequestStore, how: list[Any]) -> None:
        self._store = store
        self._how = [*how, store.keys.shared("wake")]

    async def of(self, names: Iterable[tuple[str, str]]) -> list[Mismatch]:
        """Compare what these names stand for, each with the tag that it is under."""
        by_tag = groupby(sorted(names), key=lambda it: it[0])
        asked = [
            self._store.batcher.script(
                _INDICES, [tag], [self._store.time, *self._how, *[name for _, name in some]]
            )
            for tag, some in by_tag
        ]
        answers = await asyncio.gather(*asked)
        return [Mismatch(*[word.decode() for word in row]) for rows in answers for row in rows]


async def _members(store: RequestStore, key: str) -> AsyncIterator[list[str]]:
    """Yield the members of a sorted set, page by page; some perhaps twice."""
    cursor = 0
    while True:
        answer, words = await store.batcher.command("ZSCAN", key, cursor, "COUNT", _PAGE)
        yield [member.decode() for member in words[::2]]
        if not (cursor := int(answer)):
            break


def _parted(name: str) -> tuple[str, str]:
    """Return the hash tag of a key, and the rest of its name."""
    tag, _, rest = name.partition("}:")
    return f"{tag}}}", rest
