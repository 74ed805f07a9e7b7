"""The key set that an issuer publishes (RFC 7517), fetched from the URL in the settings and cached.

Tokens cannot choose the URL: `jku`, `x5u` and `jwk` in them are ignored (RFC 8725 3.10).
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.schedule import HOUR, MINUTE
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, raise_for_status
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.jwt import key_id, published_keys, token_of

_log: Final = logging.getLogger(__name__)

KEPT: Final = HOUR
ASKED_AGAIN: Final = MINUTE
_NONE: Final = b'{"keys":[]}'


class PublishedKeys:
    """The key set of one issuer, fetched hourly, and at most once a minute for an unknown key."""

    def __init__(self, http: Destination, url: str, events: Events, clock: Clock) -> None:
        self._http = http
        self._url = url
        self._events = events
        self._clock = clock
        self._document = _NONE
        self._asked_at: int | None = None
        self._asking = asyncio.Lock()

    def now(self) -> tuple[bytes, ...]:
        """Return the last good document, in place of the secrets of an `EventReader`."""
        return (self._document,)

    async def ready(self, headers: Mapping[str, str]) -> None:
        """Fetch the keys if they are too old, or do not have the key of the event's token.

        Raises:
            TemporaryError: there are no keys at all, so that no event can be verified.
        """
        token = token_of(headers, self._events)
        if token and self._is_wanting(token):
            async with self._asking:
                if self._is_wanting(token):
                    await self._ask()
        if token and self._document is _NONE:
            raise TemporaryError(
                f"{self._http.name}: no keys could be fetched, so events cannot be verified yet"
            )

    def _is_wanting(self, token: str) -> bool:
        if self._asked_at is None:
            return True
        age = self._clock.monotonic() - self._asked_at
        kid = key_id(token)
        is_known = not kid or any(key.kid == kid for key in published_keys(self._document))
        return age >= (KEPT if is_known and self._document is not _NONE else ASKED_AGAIN)

    async def _ask(self) -> None:
        """Fetch the document; if that fails, or it has no key, the former one stays."""
        self._asked_at = self._clock.monotonic()
        call = Call("GET", self._url, {"Accept": "application/json"})
        try:
            answer = await self._http.send(call, repeatable=True)
            raise_for_status(answer, call, system=self._http.name)
            if not published_keys(answer.body):
                raise ConfigurationError(f"{call.label} answered without a public key")
        except ProxyError as error:
            _log.warning("%s: %s: the former keys stay in use", self._http.name, error)
        else:
            self._document = answer.body
