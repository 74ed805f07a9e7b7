"""Which credentials changed: names alone, of those in the settings and in the files they name.

Digests of them are kept in the store, encrypted, so that a change between two starts shows as well
and nobody who reads the store can try out guesses.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from proxy.errors import ProxyError
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import AuditStreams
from proxy.store.requests import RequestStore

EVERY: Final = 60.0
"""Seconds between two looks at files that may be replaced."""

_NAME: Final = "credentials"
_log: Final = logging.getLogger(__name__)


class Credentials:
    """Notes changes of what `read` returns: digests by the name of the setting."""

    def __init__(
        self,
        *,
        store: RequestStore,
        streams: AuditStreams,
        ring: KeyRing,
        read: Callable[[], Mapping[str, str]],
        by: str,
    ) -> None:
        self._store = store
        self._streams = streams
        self._ring = ring
        self._read = read
        self._by = by
        self._mine: Mapping[str, str] | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except (ProxyError, ValueError) as error:
                _log.warning("Changes of credentials could not be noted: %s", error)
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Note what differs from what the store knows, unless it is what this process knew before.

        Two processes whose settings differ, as in a rolling change, do so once each.
        """
        found = self._read()
        if found == self._mine:
            return
        place = self._store.keys.shared(_NAME)
        sealed = await self._store.batcher.command("GET", place)
        known = orjson.loads(self._ring.open(sealed, name=place)) if sealed else {}
        changes = _changes(known, found)
        if changes:
            after = self._ring.seal(orjson.dumps(found), name=place).decode()
            entry = {"event": "CredentialsChanged", "by": self._by, **changes}
            before = sealed.decode() if sealed else ""
            if not await self._streams.append(_NAME, entry, before=before, after=after):
                return  # another process was faster: look again
        self._mine = found


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    common = before.keys() & after.keys()
    found = {
        "added": sorted(after.keys() - before.keys()),
        "changed": sorted(name for name in common if before[name] != after[name]),
        "removed": sorted(before.keys() - after.keys()),
    }
    return {what: names for what, names in found.items() if names}
