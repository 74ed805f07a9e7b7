"""What tokens want of a store that all processes share; `proxy.store.tokens` is the real one.

No two clocks are ever compared: the store is told how long a token has left and says how long it
has left, both counted from the moment of the call.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Final, Protocol

import orjson

from proxy.domain.schedule import MINUTE

WITHIN: Final = MINUTE
"""How long a turn lasts (ms): must be longer than the deadline of everything done in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIdentity:
    """Everything that makes one access token another than the next, and where it may be sent.

    `thumbprint` is that of the key or certificate a token is bound to (RFC 8705 3.1, RFC 9449 6).
    """

    issuer: str
    client_id: str
    grant: str
    subject: str = ""
    scope: str = ""
    resource: tuple[str, ...] = ()
    audience: str = ""
    thumbprint: str = ""
    origins: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Forty hexadecimal digits: equal for equal identities, in every process."""
        canonical = orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class SharedToken:
    """An access token as the store has it; times in milliseconds, `remaining` when it was read."""

    value: str = field(repr=False)
    remaining: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class CurrentRefreshToken:
    """The refresh token to use next; `sent`: it was used, and no answer to that was stored."""

    value: str = field(repr=False)
    sent: bool


class TokenStore(Protocol):
    """Access tokens by the key of their identity.

    Everything raises StoreUnavailable, and ConfigurationError for what cannot be decrypted.
    """

    async def load(self, key: str) -> SharedToken | None:
        """Return the token, if there is one that has not ended."""
        ...

    async def keep(self, key: str, value: str, remaining: int, lifetime: int) -> None:
        """Keep a token for as long as it has left; one that has nothing left is not kept."""
        ...

    async def drop(self, key: str, value: str) -> None:
        """Delete exactly this token; another one under the key stays."""
        ...

    async def begin(self, key: str, owner: str, within: int) -> bool:
        """Take the one turn to renew, which ends by itself; True again for its owner."""
        ...

    async def end(self, key: str, owner: str) -> None:
        """Give the turn back; somebody else's stays."""
        ...


class RefreshTokens(Protocol):
    """Refresh tokens by a key of the caller's; raises as `TokenStore` does.

    Each change of one is in the audit, in the same step: of which system, and by whom.
    """

    async def current(self, key: str) -> CurrentRefreshToken | None:
        """Return the refresh token to use next, None before the first login."""
        ...

    async def begin_use(self, key: str, owner: str, within: int) -> bool:
        """Take the one turn to use the refresh token, which ends by itself."""
        ...

    async def end_use(self, key: str, owner: str) -> None:
        """Give that turn back; somebody else's stays."""
        ...

    async def sending(self, key: str, token: str, owner: str) -> bool:
        """Note that it is sent; False if it is not the current one or the turn is not ours."""
        ...

    async def rotate(self, key: str, old: str, new: str, *, system: str) -> bool:
        """Put the new one in the place of the old one; False if that is not the current one.

        What was noted by `sending` is forgotten; `new` may equal `old` for just that.
        """
        ...

    async def put(self, key: str, token: str, *, system: str, by: str) -> None:
        """Store the refresh token of a login, whatever was there; `by` is who logged in."""
        ...


async def sleep(milliseconds: int) -> None:
    """Wait."""
    await asyncio.sleep(milliseconds / 1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTokenSlot:
    """Where one token source keeps its token; `within` is the length of a turn (ms)."""

    store: TokenStore
    key: str
    within: int = WITHIN
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    sleep: Callable[[int], Awaitable[None]] = sleep
