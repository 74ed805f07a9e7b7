"""One access token for all tasks: cached, renewed early, dropped when refused, requested once.

With a store, all processes share one token: the one that has the turn requests it; the others use
the old token until it expires, and after that wait for the new one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.schedule import LONGEST_RETRY_AFTER, MINUTE, SECOND, Jitter
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.shared_tokens import SharedTokenSlot
from proxy.oauth2.tokens import Token

_log: Final = logging.getLogger(__name__)

Fetch = Callable[[], Awaitable[Token]]

EARLY: Final = 30 * SECOND
LONGEST_PAUSE: Final = MINUTE
_FIRST_LOOK: Final = 20
_LONGEST_LOOK: Final = 500
_WAITED_TURNS: Final = 3
"""A process without a token stops waiting after this many turns of other processes."""


class TokenSource:
    """A credential that caches a fetched access token.

    A token is renewed in the background before it expires, and used meanwhile, so a failing
    authorization server has no effect until the token has expired. A failure is remembered for a
    pause of 1 s that grows to 60 s: a thousand waiting tasks lead to one request.

    `slot` shares the token with other processes. This only saves requests: while the store does not
    answer, each process requests its own token. `scheme` is the authentication scheme, because some
    APIs take an OAuth2 token, but not as Bearer (RFC 9110 11.4). With `dpop`, the proof of the key
    that the token is bound to, the scheme is DPoP.
    """

    def __init__(
        self,
        *,
        fetch: Fetch,
        clock: Clock,
        dice: Jitter,
        name: str,
        slot: SharedTokenSlot | None = None,
        scheme: str = "Bearer",
        dpop: Dpop | None = None,
    ) -> None:
        self.name = name
        self._scheme = "DPoP" if dpop else scheme
        self._dpop = dpop
        self._fetch = fetch
        self._clock = clock
        self._dice = dice
        self._slot = slot
        self._store_fails = False
        self._refused = ""
        self._token: Token | None = None
        self._renew_at = 0
        self._in_flight: asyncio.Task[Token | None] | None = None
        self._failure: ProxyError | None = None
        self._failures = 0
        self._ask_again_at = 0

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
        """Return the Authorization header (RFC 6750 2.1), and the proof of a key if there is one.

        Raises:
            ConfigurationError: the authorization server refuses us; tried again after a pause.
            TemporaryError: no token now; `maybe_sent` is False.
        """
        now = self._clock.monotonic()
        token = self._token
        if token is not None and now < token.sent_at + token.lifetime:
            if now >= self._renew_at and now >= self._ask_again_at:
                _ = self._ask()
            return self._proof(token, url, method)
        if self._failure is not None and now < self._ask_again_at:
            raise self._remembered(self._failure, self._ask_again_at - now)
        # shielded: one caller's deadline must not cancel the request for all the others
        token = await asyncio.shield(self._ask())
        if token is None:
            assert self._failure is not None
            raise self._remembered(
                self._failure, max(0, self._ask_again_at - self._clock.monotonic())
            )
        return self._proof(token, url, method)

    def _proof(self, token: Token, url: str, method: str) -> Mapping[str, str]:
        bearing = {"Authorization": self._authorization(token)}
        return bearing | self._dpop.header(method, url, token.value) if self._dpop else bearing

    def _authorization(self, token: Token) -> str:
        return f"{self._scheme} {token.value}"

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Read the nonce and the time of the API, if the token is bound to a key."""
        return self._dpop is not None and self._dpop.challenged(url, status, headers)

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        """Drop the token if it is the refused one; a newer one stays."""
        token = self._token
        if token is not None and self._authorization(token) == headers.get("Authorization"):
            self._refused = token.value
            self._token = None
        return True

    def _ask(self) -> asyncio.Task[Token | None]:
        """Return the one request that is in flight; start it if there is none."""
        if self._in_flight is None or self._in_flight.done():
            self._in_flight = asyncio.create_task(self._renew(), name=f"token of {self.name}")
        return self._in_flight

    async def _renew(self) -> Token | None:
        try:
            token = await (self._shared(self._slot) if self._slot else self._fetch())
        except ProxyError as error:
            self._remember(error)
            return None
        self._failure, self._failures, self._ask_again_at = None, 0, 0
        if token is self._token:  # another process is renewing it: read it a little later
            self._ask_again_at = self._clock.monotonic() + SECOND
            return token
        self._token, self._refused = token, ""
        self._renew_at = self._when_to_renew(token)
        return token

    async def _shared(self, slot: SharedTokenSlot) -> Token:
        """Return another process's newer token, our old one while it is renewed, or a fresh one."""
        pause, last = _FIRST_LOOK, self._clock.monotonic() + _WAITED_TURNS * slot.within
        while True:
            try:
                if self._refused:
                    await slot.store.drop(slot.key, self._refused)
                mine = await slot.store.begin(slot.key, slot.owner, slot.within)
                # read after taking the turn: its former owner has stored its token by now
                stored = await self._stored(slot)
            except ProxyError as error:
                self._cannot_share(error)
                return await self._fetch()
            self._store_fails = False
            if mine:
                return await self._in_turn(slot, stored)
            if stored is not None:
                return stored
            now, old = self._clock.monotonic(), self._token
            if old is not None and now < old.sent_at + old.lifetime:
                return old
            if now >= last:
                raise TemporaryError(
                    f"no token for {self.name}: other processes request it and get none; it will be"
                    " requested again",
                    maybe_sent=False,
                )
            await slot.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)

    async def _in_turn(self, slot: SharedTokenSlot, stored: Token | None) -> Token:
        try:
            if stored is not None:
                return stored
            token = await self._fetch()
            left = token.sent_at + token.lifetime - self._clock.monotonic()
            try:
                await slot.store.keep(slot.key, token.value, left, token.lifetime)
            except ProxyError as error:
                self._cannot_share(error)
            return token
        finally:
            with contextlib.suppress(ProxyError):  # the turn expires anyway
                await slot.store.end(slot.key, slot.owner)

    async def _stored(self, slot: SharedTokenSlot) -> Token | None:
        """Return the stored token, unless it is the one we have or the one that was refused."""
        read_at = self._clock.monotonic()  # its remaining lifetime counts from before the read
        stored = await slot.store.load(slot.key)
        outdated = {self._refused, self._token.value if self._token else ""}
        if stored is None or stored.value in outdated:
            return None
        return Token(stored.value, read_at + stored.remaining - stored.lifetime, stored.lifetime)

    def _cannot_share(self, error: ProxyError) -> None:
        if not self._store_fails:
            _log.warning("the token of %s is not shared with other processes: %s", self.name, error)
        self._store_fails = True

    def _when_to_renew(self, token: Token) -> int:
        """Return expiry - max(30 s, 10 %) - random 0-10 %, but not before half of a short life."""
        life = token.lifetime
        early = min(max(EARLY, life // 10), life // 2)
        return token.sent_at + life - early - int(self._dice() * life / 10)

    def _remember(self, error: ProxyError) -> None:
        planned = min(SECOND * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        pause = int(planned * (0.8 + 0.4 * self._dice()))
        requested = error.retry_after if isinstance(error, TemporaryError) else None
        self._failure = error
        self._failures += 1
        self._ask_again_at = self._clock.monotonic() + max(
            pause, min(requested or 0, LONGEST_RETRY_AFTER)
        )

    def _remembered(self, failure: ProxyError, pause: int) -> ProxyError:
        """Return a new error each time: one object would collect the tracebacks of many tasks."""
        if isinstance(failure, ConfigurationError):
            return ConfigurationError(str(failure))
        return TemporaryError(str(failure), retry_after=pause, maybe_sent=False)
