"""The interface of a token store that all processes share; `proxy.store.tokens` implements it.

Clocks are never compared: a token is written with its remaining lifetime and read with its
remaining lifetime, both counted from the moment of the call.
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
"""How long a turn lasts (ms); it must be longer than the deadline of everything done in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIdentity:
    """Everything in which access tokens differ, and the origins that a token may be sent to."""

    issuer: str
    """The issuer or token endpoint of the authorization server."""
    client_id: str
    """The client."""
    grant: str
    """The grant type."""
    subject: str = ""
    """The subject of an assertion, or a digest of the subject token."""
    scope: str = ""
    """The requested scope."""
    resource: tuple[str, ...] = ()
    """The requested resources (RFC 8707)."""
    audience: str = ""
    """The requested audience."""
    thumbprint: str = ""
    """The key or certificate that the token is bound to (RFC 8705 3.1, RFC 9449 6)."""
    origins: tuple[str, ...] = ()
    """The origins that the token may be sent to."""

    @property
    def key(self) -> str:
        """Forty hexadecimal digits, equal for equal identities in every process."""
        canonical = orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class SharedToken:
    """An access token that was read from the store; times in milliseconds."""

    value: str = field(repr=False)
    """The token."""
    remaining: int
    """The rest of its lifetime at the moment of reading."""
    lifetime: int
    """Its whole lifetime."""


@dataclass(frozen=True, slots=True)
class CurrentRefreshToken:
    """The refresh token to use next."""

    value: str = field(repr=False)
    """The token."""
    sent: bool
    """True if it was sent before and no answer to that was stored."""


class TokenStore(Protocol):
    """Access tokens by the key of their identity.

    Every method raises StoreUnavailableError, and ConfigurationError for a value that cannot be
    decrypted.
    """

    async def load(self, key: str) -> SharedToken | None:
        """Return the token, None if there is none or it has expired."""
        ...

    async def keep(self, key: str, value: str, remaining: int, lifetime: int) -> None:
        """Store a token for its remaining lifetime; an expired one is not stored."""
        ...

    async def drop(self, key: str, value: str) -> None:
        """Delete exactly this token; another one under the key stays."""
        ...

    async def begin(self, key: str, owner: str, within: int) -> bool:
        """Take the one turn to renew, which expires after `within` ms; True again for its owner."""
        ...

    async def end(self, key: str, owner: str) -> None:
        """Give the turn back; another owner's turn stays."""
        ...


class RefreshTokens(Protocol):
    """Refresh tokens by a key that the caller chooses; raises as `TokenStore` does.

    Each change is written to the audit in the same step, with the system and the person.
    """

    async def current(self, key: str) -> CurrentRefreshToken | None:
        """Return the refresh token to use next, None before the first login."""
        ...

    async def begin_use(self, key: str, owner: str, within: int) -> bool:
        """Take the one turn to use the refresh token, which expires after `within` ms."""
        ...

    async def end_use(self, key: str, owner: str) -> None:
        """Give the turn back; another owner's turn stays."""
        ...

    async def sending(self, key: str, token: str, owner: str) -> bool:
        """Mark the token as sent; False if it is not the current one or the turn is not ours."""
        ...

    async def rotate(self, key: str, old: str, new: str, *, system: str) -> bool:
        """Replace the old token by the new one; False if the old one is not the current one.

        The mark of `sending` is cleared; `new` may equal `old` to do only that.
        """
        ...

    async def put(self, key: str, token: str, *, system: str, by: str) -> None:
        """Store the refresh token of a login in any case; `by` is the person who logged in."""
        ...


async def sleep(milliseconds: int) -> None:
    """Wait for some milliseconds."""
    await asyncio.sleep(milliseconds / 1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTokenSlot:
    """The place in the store where one token source shares its token with other processes."""

    store: TokenStore
    """The store of access tokens."""
    key: str
    """The key of the token in the store (`TokenIdentity.key`)."""
    within: int = WITHIN
    """How long one turn lasts (ms)."""
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    """The random name under which this process takes turns."""
    sleep: Callable[[int], Awaitable[None]] = sleep
    """Waits for some milliseconds."""
