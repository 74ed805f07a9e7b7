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
"""How often the token may be replaced, by a login for example, between reading and using it."""


@dataclass(slots=True, kw_only=True)
class RefreshTokenFetcher:
    """Gets access tokens for a stored refresh token; it is the `Fetch` of a `TokenSource`."""

    ask: Callable[[Grant], Awaitable[Token]]
    """Requests a token (`TokenEndpoint.ask`)."""
    tokens: RefreshTokens
    """The store of refresh tokens."""
    key: str
    """The key of the refresh token in the store."""
    system: str
    """The name under which people log in to the system."""
    within: int
    """How long one turn lasts (ms); it must be longer than `ask` can take."""
    redirect_uri: str = ""
    """The redirect URI of the login, for servers that require it again."""
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    """The random name under which this process takes turns."""
    sleep: Callable[[int], Awaitable[None]] = sleep
    """Waits for some milliseconds."""
    _unstored: tuple[str, Token] | None = field(default=None, repr=False)
    """The old refresh token and the new tokens, while the store could not take them yet."""

    async def __call__(self) -> Token:
        """Return an access token, after the new refresh token is stored.

        Raises:
            ConfigurationError: a person must log in, or the authorization server refuses us.
            TemporaryError: no token now; `maybe_sent` is False, because the API was not called.
        """
        await self._take_turn()
        try:
            if self._unstored is not None:
                return await self._store(*self._unstored)
            return await self._refresh()
        finally:
            with contextlib.suppress(ProxyError):  # the turn ends by itself
                await self.tokens.end_use(self.key, self.owner)

    async def _take_turn(self) -> None:
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

    async def _refresh(self) -> Token:
        for _ in range(_REREADS):
            current = await self.tokens.current(self.key)
            if current is None:
                raise ConfigurationError(
                    f"nobody has logged in to {self.system} yet: run approval-proxy login"
                    f" {self.system}"
                )
            if not await self.tokens.sending(self.key, current.value, self.owner):
                continue
            token = await self._exchange(current)
            if token is not None:
                return await self._store(current.value, token)
        raise TemporaryError(
            f"the refresh token of {self.system} is being replaced again and again; it will be"
            " tried again",
            maybe_sent=False,
        )

    async def _exchange(self, current: CurrentRefreshToken) -> Token | None:
        """Return the server's tokens for a refresh token; None if a login has replaced that."""
        try:
            return await self.ask(RefreshToken(current.value, self.redirect_uri))
        except TokenRefused as error:
            if error.code != "invalid_grant":
                await self._mark_unused(current.value)
                raise
            latest = await self.tokens.current(self.key)
            if latest is not None and latest.value != current.value:
                return None  # somebody has logged in meanwhile
            raise ConfigurationError(self._login_over(error, lost=current.sent)) from error
        except TemporaryError as error:
            if not error.maybe_sent:
                await self._mark_unused(current.value)
            raise TemporaryError(
                str(error), retry_after=error.retry_after, maybe_sent=False
            ) from error

    async def _mark_unused(self, value: str) -> None:
        """Clear the mark that the token was sent: the server has certainly not used it up."""
        with contextlib.suppress(ProxyError):  # then only an error about the next use is less exact
            await self.tokens.rotate(self.key, value, value, system=self.system)

    async def _store(self, old: str, token: Token) -> Token:
        """Return the access token, once the new refresh token is durable.

        While the store does not answer, the tokens exist only in `_unstored`.
        """
        self._unstored = old, token
        new = token.refresh_token or old
        await self.tokens.rotate(self.key, old, new, system=self.system)
        self._unstored = None
        return token

    def _login_over(self, error: TokenRefused, *, lost: bool) -> str:
        why = (
            "it was used before, and the answer to that never arrived or was never stored"
            if lost
            else "it has ended or was revoked"
        )
        return (
            f"the login to {self.system} is over ({why}): run approval-proxy login {self.system}."
            f" {error}"
        )
