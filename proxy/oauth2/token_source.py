"""One token for all tasks: kept, renewed early, dropped when refused, asked for only once.

With a store, one token for all processes: whoever has the turn asks, the others use the old token
while it lives, and else wait for the new one.
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
"""A process without a token gives up waiting after so many turns of others."""


class TokenSource:
    """A credential that keeps a fetched token.

    A token is renewed in the background before it ends, and used meanwhile, so a failing
    authorization server is felt only when the token has really ended. A failure is remembered for
    a pause of 1 s that grows to 60 s: a thousand waiting tasks ask once.

    `kept` shares the token with other processes. It only ever saves requests: while the store does
    not answer, each process asks for itself. `scheme` is the word before the token: some APIs take
    an OAuth2 token, but not as a Bearer (RFC 9110 11.4). `dpop` proves the key that the token is
    bound to; the word is DPoP then.
    """

    def __init__(
        self,
        *,
        fetch: Fetch,
        clock: Clock,
        dice: Jitter,
        name: str,
        kept: SharedTokenSlot | None = None,
        scheme: str = "Bearer",
        dpop: Dpop | None = None,
    ) -> None:
        self.name = name
        self._scheme = "DPoP" if dpop else scheme
        self._dpop = dpop
        self._fetch = fetch
        self._clock = clock
        self._dice = dice
        self._kept = kept
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
            ConfigurationError: the authorization server refuses us; asked again after a pause.
            TemporaryError: no token now; `sent` is False.
        """
        now = self._clock.monotonic()
        token = self._token
        if token is not None and now < token.sent_at + token.lifetime:
            if now >= self._renew_at and now >= self._ask_again_at:
                _ = self._ask()
            return self._proof(token, url, method)
        if self._failure is not None and now < self._ask_again_at:
            raise self._remembered(self._failure, self._ask_again_at - now)
        # shielded: a caller's deadline must not take the token from all the others who wait
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
        """Note the nonce and the time of who takes our tokens, if they are bound to a key."""
        return self._dpop is not None and self._dpop.challenged(url, status, headers)

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        """Drop the token if it is the one refused; where another is here already, it stays."""
        token = self._token
        if token is not None and self._authorization(token) == headers.get("Authorization"):
            self._refused = token.value
            self._token = None
        return True

    def _ask(self) -> asyncio.Task[Token | None]:
        """Return the one question that is under way, asking it if there is none."""
        if self._in_flight is None or self._in_flight.done():
            self._in_flight = asyncio.create_task(self._renew(), name=f"token of {self.name}")
        return self._in_flight

    async def _renew(self) -> Token | None:
        try:
            token = await (self._shared(self._kept) if self._kept else self._fetch())
        except ProxyError as error:
            self._remember(error)
            return None
        self._failure, self._failures, self._ask_again_at = None, 0, 0
        if token is self._token:  # another process is renewing it: look again a little later
            self._ask_again_at = self._clock.monotonic() + SECOND
            return token
        self._token, self._refused = token, ""
        self._renew_at = self._when_to_renew(token)
        return token

    async def _shared(self, kept: SharedTokenSlot) -> Token:
        """Return a newer token of another process, ours if one is being made, or a fresh one."""
        pause, last = _FIRST_LOOK, self._clock.monotonic() + _WAITED_TURNS * kept.within
        while True:
            try:
                if self._refused:
                    await kept.store.drop(kept.key, self._refused)
                mine = await kept.store.begin(kept.key, kept.owner, kept.within)
                # read after the turn: whoever had it before us has stored its token by now
                found = await self._stored(kept)
            except ProxyError as error:
                self._cannot_share(error)
                return await self._fetch()
            self._store_fails = False
            if mine:
                return await self._in_turn(kept, found)
            if found is not None:
                return found
            now, old = self._clock.monotonic(), self._token
            if old is not None and now < old.sent_at + old.lifetime:
                return old
            if now >= last:
                raise TemporaryError(
                    f"no token for {self.name}: other processes are asking for it and get none;"
                    " it will be asked for again",
                    maybe_sent=False,
                )
            await kept.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)

    async def _in_turn(self, kept: SharedTokenSlot, found: Token | None) -> Token:
        try:
            if found is not None:
                return found
            token = await self._fetch()
            left = token.sent_at + token.lifetime - self._clock.monotonic()
            try:
                await kept.store.keep(kept.key, token.value, left, token.lifetime)
            except ProxyError as error:
                self._cannot_share(error)
            return token
        finally:
            with contextlib.suppress(ProxyError):  # the turn ends by itself
                await kept.store.end(kept.key, kept.owner)

    async def _stored(self, kept: SharedTokenSlot) -> Token | None:
        """Return the stored token, unless it is the one we have or the one that was refused."""
        asked_at = self._clock.monotonic()  # what is left counts from before the question
        found = await kept.store.load(kept.key)
        known = {self._refused, self._token.value if self._token else ""}
        if found is None or found.value in known:
            return None
        return Token(found.value, asked_at + found.remaining - found.lifetime, found.lifetime)

    def _cannot_share(self, error: ProxyError) -> None:
        if not self._store_fails:
            _log.warning("the token of %s is not shared with other processes: %s", self.name, error)
        self._store_fails = True

    def _when_to_renew(self, token: Token) -> int:
        """Return expiry - max(30 s, 10 %) - random 0-10 %, for short lives at least half of it."""
        life = token.lifetime
        early = min(max(EARLY, life // 10), life // 2)
        return token.sent_at + life - early - int(self._dice() * life / 10)

    def _remember(self, error: ProxyError) -> None:
        planned = min(SECOND * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        pause = int(planned * (0.8 + 0.4 * self._dice()))
        asked = error.retry_after if isinstance(error, TemporaryError) else None
        self._failure = error
        self._failures += 1
        self._ask_again_at = self._clock.monotonic() + max(
            pause, min(asked or 0, LONGEST_RETRY_AFTER)
        )

    def _remembered(self, failure: ProxyError, pause: int) -> ProxyError:
        """Return a new error each time: one object raised by many tasks collects their traces."""
        if isinstance(failure, ConfigurationError):
            return ConfigurationError(str(failure))
        return TemporaryError(str(failure), retry_after=pause, maybe_sent=False)
