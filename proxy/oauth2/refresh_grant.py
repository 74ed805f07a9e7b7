"""The grant refresh_token, where each refresh token may be good for one use (RFC 9700 2.2.2).

A server that rotates takes a second use for theft and ends the login (RFC 9700 4.14.2). So one
process at a time uses the token, notes that before it sends, and stores the new one before anybody
uses the access token that came with it.

One window remains, and no client can close it: killed after the server has rotated and before we
have stored its answer, or an answer lost on the way. The old token is then tried once more, which
servers with a grace period forgive; where they do not, a person logs in again, and the error says
so and why.
"""

import contextlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.grants import Grant, RefreshToken
from proxy.oauth2.shared_tokens import CurrentRefreshToken, RefreshTokens, sleep
from proxy.oauth2.tokens import Token, TokenRefused

_PAUSE: Final = 200
_REREADS: Final = 3
"""How often a token may be replaced by somebody else, as by a login, while we want to use it."""


@dataclass(slots=True, kw_only=True)
class RefreshTokenFetcher:
    """Gets access tokens for the refresh token under `key`; a `Fetch` for a `TokenSource`.

    `system` is what the person who logs in names it, `within` how long one use may take (ms):
    longer than `ask` can last.
    """

    ask: Callable[[Grant], Awaitable[Token]]
    tokens: RefreshTokens
    key: str
    system: str
    within: int
    redirect_uri: str = ""
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    sleep: Callable[[int], Awaitable[None]] = sleep
    _unstored: tuple[str, Token] | None = field(default=None, repr=False)

    async def __call__(self) -> Token:
        """Return an access token, its refresh token's successor being stored by then.

        Raises:
            ConfigurationError: somebody must log in, or the authorization server refuses us.
            TemporaryError: no token now; `sent` is False, for nothing of the API was asked.
        """
        await self._begin()
        try:
            if self._unstored is not None:
                return await self._stored(*self._unstored)
            return await self._refreshed()
        finally:
            with contextlib.suppress(ProxyError):  # the turn ends by itself
                await self.tokens.end_use(self.key, self.owner)

    async def _begin(self) -> None:
        waited = 0
        while not await self.tokens.begin_use(self.key, self.owner, self.within):
            if waited > self.within:
                raise TemporaryError(
                    f"the refresh token of {self.system} is in use by another process; it will be"
                    " tried again",
                    maybe_sent=False,
                )
            await self.sleep(_PAUSE)
            waited += _PAUSE

    async def _refreshed(self) -> Token:
        for _ in range(_REREADS):
            current = await self.tokens.current(self.key)
            if current is None:
                raise ConfigurationError(
                    f"nobody has logged in to {self.system} yet: run approval-proxy login"
                    f" {self.system}"
                )
            if not await self.tokens.sending(self.key, current.value, self.owner):
                continue
            token = await self._asked(current)
            if token is not None:
                return await self._stored(current.value, token)
        raise TemporaryError(
            f"the refresh token of {self.system} is being replaced again and again; it will be"
            " tried again",
            maybe_sent=False,
        )

    async def _asked(self, current: CurrentRefreshToken) -> Token | None:
        """Return what the server gives for a refresh token, None if that is no longer the one."""
        try:
            return await self.ask(RefreshToken(current.value, self.redirect_uri))
        except TokenRefused as error:
            if error.code != "invalid_grant":
                await self._unused(current.value)
                raise
            latest = await self.tokens.current(self.key)
            if latest is not None and latest.value != current.value:
                return None  # somebody has logged in meanwhile
            raise ConfigurationError(self._over(error, lost=current.sent)) from error
        except TemporaryError as error:
            if not error.maybe_sent:
                await self._unused(current.value)
            raise TemporaryError(
                str(error), retry_after=error.retry_after, maybe_sent=False
            ) from error

    async def _unused(self, value: str) -> None:
        """Forget that the token was sent: the server has certainly not used it up."""
        with contextlib.suppress(ProxyError):  # then the next use is called a second one, no more
            await self.tokens.rotate(self.key, value, value, system=self.system)

    async def _stored(self, old: str, token: Token) -> Token:
        """Return the access token, once what replaces its refresh token is durable.

        While the store does not answer, both wait here, the only place where they are.
        """
        self._unstored = old, token
        new = token.refresh_token or old
        await self.tokens.rotate(self.key, old, new, system=self.system)
        self._unstored = None
        return token

    def _over(self, error: TokenRefused, *, lost: bool) -> str:
        why = (
            "it was used before, and the answer to that never arrived or was never stored"
            if lost
            else "it has ended or was revoked"
        )
        return (
            f"the login to {self.system} is over ({why}): run approval-proxy login {self.system}."
            f" {error}"
        )
