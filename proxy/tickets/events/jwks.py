"""Keys that an issuer publishes (RFC 7517), fetched from the one URL of the settings and kept.

Tokens cannot say where keys are: `jku`, `x5u` and `jwk` in them are ignored (RFC 8725 3.10).
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
    """The key set of one issuer: asked for hourly, and for an unknown key once a minute at most."""

    def __init__(self, http: Destination, url: str, events: Events, clock: Clock) -> None:
        self._http = http
        self._url = url
        self._events = events
        self._clock = clock
        self._document = _NONE
        self._asked_at: int | None = None
        self._asking = asyncio.Lock()

    def now(self) -> tuple[bytes, ...]:
        """Return the last good document, for whoever verifies."""
        return (self._document,)

    async def ready(self, headers: Mapping[str, str]) -> None:
        """Fetch what the token of an event needs, if that is not here.

        Raises:
            TemporaryError: there are no keys at all, so that nothing can be told from a forgery.
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
        known = not kid or any(key.kid == kid for key in published_keys(self._document))
        return age >= (KEPT if known and self._document is not _NONE else ASKED_AGAIN)

    async def _ask(self) -> None:
        """Keep the former document where there is no better one."""
        self._asked_at = self._clock.monotonic()
        call = Call("GET", self._url, {"Accept": "application/json"})
        try:
            answer = await self._http.send(call, repeatable=True)
            raise_for_status(answer, call, system=self._http.name)
            if not published_keys(answer.body):
                raise ConfigurationError(f"{call.label} answered without a public key")
        except ProxyError as error:
            _log.warning("%s: %s: the former keys stay", self._http.name, error)
        else:
            self._document = answer.body
