"""The journal of a simulator: the evidence on which tests judge, independent of our store."""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from proxy.domain.clock import Clock, SystemClock
from proxy.simulators.faults import ENDINGS

Entry = dict[str, Any]
"""A journal entry: always `seq` (from 1), `at` (milliseconds since the epoch) and `kind`."""


def read_journal(file: Path) -> list[Entry]:
    """Read a journal file, without a last line that a SIGKILL cut off."""
    return [orjson.loads(line) for line in file.read_bytes().splitlines(True) if line[-1:] == b"\n"]


def attempts_at(witboost: Iterable[Entry], hook_id: str) -> list[Entry]:
    """Return the callbacks sent to a hook, including those that a fault ended."""
    return [entry for entry in witboost if entry.get("hook") == hook_id and is_attempt(entry)]


def is_attempt(entry: Entry) -> bool:
    """Return True if the entry is a callback sent to witboost, ended by a fault or not."""
    if entry["kind"] == "fault":
        ended = entry["fault"] in ENDINGS and not entry["after_effect"]
        return ended and bool(entry["operation"] == "callback")
    return bool(entry["kind"] == "callback")


class Journal:
    """Append-only entries in memory that tests can await; also JSON lines in a file, if named.

    A line is written by one unbuffered append, so it is complete even if the process dies next.
    """

    def __init__(self, file: Path | None = None, *, clock: Clock | None = None) -> None:
        self.entries: list[Entry] = []
        self._clock = clock or SystemClock()
        self._waiting: list[tuple[Callable[[Entry], bool], asyncio.Future[Entry]]] = []
        self._file: int | None = None
        if file is not None:
            self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def record(self, kind: str, **fields: Any) -> Entry:
        """Append an entry and wake those who wait for it."""
        entry = {"seq": len(self.entries) + 1, "at": self._clock.now(), "kind": kind, **fields}
        self.entries.append(entry)
        if self._file is not None:
            os.write(self._file, orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        for matches, future in self._waiting:
            if not future.done() and matches(entry):
                future.set_result(entry)
        return entry

    def of(self, kind: str, **fields: Any) -> list[Entry]:
        """Return the entries of a kind whose fields have these values."""
        return [entry for entry in self.entries if _matches(entry, kind, fields)]

    async def next(
        self, matches: Callable[[Entry], bool], *, within: float = 5.0, after: int = 0
    ) -> Entry:
        """Return the first matching entry after sequence number `after`, waiting for it.

        Raises TimeoutError after `within` seconds, with the kinds of the latest entries.
        """
        for entry in self.entries[after:]:
            if matches(entry):
                return entry
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        waiting = (matches, future)
        self._waiting.append(waiting)
        try:
            return await asyncio.wait_for(future, within)
        except TimeoutError:
            latest = [entry["kind"] for entry in self.entries[after:]][-20:]
            raise TimeoutError(f"not recorded within {within} s; the latest are {latest}") from None
        finally:
            self._waiting.remove(waiting)

    async def next_of(
        self, kind: str, *, within: float = 5.0, after: int = 0, **fields: Any
    ) -> Entry:
        """Return the first entry of a kind whose fields have these values, as `next` does."""
        return await self.next(
            lambda entry: _matches(entry, kind, fields), within=within, after=after
        )

    async def since(self, seq: int, *, wait: float) -> list[Entry]:
        """Return all entries after a sequence number, waiting up to `wait` seconds for one."""
        if len(self.entries) <= seq and wait > 0:
            try:
                await self.next(lambda _: True, within=wait, after=seq)
            except TimeoutError:
                return []
        return self.entries[seq:]

    def close(self) -> None:
        """Close the file; entries stay readable, further ones stay in memory only."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _matches(entry: Entry, kind: str, fields: dict[str, Any]) -> bool:
    return entry["kind"] == kind and all(
        name in entry and entry[name] == value for name, value in fields.items()
    )
