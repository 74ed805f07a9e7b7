"""Audit entries about changed credentials: the names of the settings, never the values.

Digests of the credentials, in the settings and in the files that they name, are stored encrypted:
a change between two starts is detected, and nobody can test guesses against the store.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.errors import ProxyError
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import AuditStreams
from proxy.store.requests import RequestStore

EVERY: Final = 60.0
"""Seconds between two readings of files that may be replaced."""

_NAME: Final = "credentials"
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Credentials:
    """Detects changed credentials and appends audit entries about them."""

    store: RequestStore
    """Holds the digests that were recorded last."""
    streams: AuditStreams
    """Takes the audit entries."""
    ring: KeyRing
    """Encrypts the stored digests."""
    read: Callable[[], Mapping[str, str]]
    """Returns the present digest of each credential, by the name of its setting."""
    by: str
    """Author of the entries."""
    _recorded: Mapping[str, str] | None = None

    async def run(self) -> None:
        """Check repeatedly, until cancelled."""
        while True:
            try:
                await self.look()
            except (ProxyError, ValueError) as error:
                _log.warning("Changes of credentials could not be recorded: %s", error)
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Record the differences to the stored digests, unless this process did so already.

        Two processes with different settings, as in a rolling change, record them once each.
        """
        present = self.read()
        if present == self._recorded:
            return
        name = self.store.keys.shared(_NAME)
        sealed = await self.store.batcher.command("GET", name)
        stored = orjson.loads(self.ring.open(sealed, name=name)) if sealed else {}
        changes = _changes(stored, present)
        if changes:
            after = self.ring.seal(orjson.dumps(present), name=name).decode()
            entry = {"event": "CredentialsChanged", "by": self.by, **changes}
            before = sealed.decode() if sealed else ""
            if not await self.streams.append(_NAME, entry, before=before, after=after):
                return  # another process was faster: check again later
        self._recorded = present


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    common = before.keys() & after.keys()
    changes = {
        "added": sorted(after.keys() - before.keys()),
        "changed": sorted(name for name in common if before[name] != after[name]),
        "removed": sorted(before.keys() - after.keys()),
    }
    return {kind: names for kind, names in changes.items() if names}
