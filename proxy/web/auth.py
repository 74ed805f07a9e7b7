"""Authentication of API clients and operators by keys, of which only the hashes are stored."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from proxy.domain.clock import Clock, SystemClock
from proxy.errors import ForbiddenError, UnauthorizedError

Role = Literal["read", "operate", "admin"]
_ROLES: Final = get_args(Role)
ANONYMOUS: Final = "anonymous"
_BEARER: Final = "bearer "
_REFUSED: Final = "X-API-Key is missing or not valid: send a live key there, or as a bearer token."


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client."""

    name: str
    instance: str = ""
    """The witboost instance of a client; empty for operators."""
    role: Role = field(default="read", compare=False)
    """What an operator may do; each role includes those before it."""


@dataclass(frozen=True, slots=True)
class Client:
    """A caller and its keys: several while one replaces another."""

    caller: Caller
    keys: Mapping[str, int | None]
    """Hash of each key (`sha256:...`) to its end in milliseconds since the epoch, None for none."""


class Clients:
    """Clients by key; `open_to` names the instances whose authentication is switched off."""

    def __init__(
        self, clients: Sequence[Client], *, open_to: Sequence[str] = (), clock: Clock | None = None
    ) -> None:
        self._keys = [
            (digest, until, client.caller)
            for client in clients
            for digest, until in client.keys.items()
        ]
        self._anonymous = [Caller(ANONYMOUS, instance) for instance in open_to]
        self._clock = clock or SystemClock()

    def callers(self, headers: Mapping[str, str]) -> list[Caller]:
        """Return every caller that these headers authenticate, those with a key first.

        Every stored hash is compared, each in constant time, so that timing reveals nothing.
        """
        presented = hash_key(_presented(headers))
        # a plain loop would stop at the first match
        matches = [
            (until, caller)
            for digest, until, caller in self._keys
            if hmac.compare_digest(digest, presented)
        ]
        live = [caller for until, caller in matches if until is None or self._clock.now() < until]
        return live + self._anonymous

    def authorize(self, headers: Mapping[str, str], role: Role) -> Caller:
        """Return the operator that these headers authenticate.

        Raises:
            UnauthorizedError: no operator.
            ForbiddenError: an operator whose role is below this one.
        """
        caller = self.identify(headers)[0]
        if _ROLES.index(caller.role) < _ROLES.index(role):
            raise ForbiddenError(
                f"{caller.name} has the role {caller.role}, and this needs {role}: ask the people"
                " who maintain operators.clients in the settings"
            )
        return caller

    def identify(self, headers: Mapping[str, str]) -> list[Caller]:
        """Return every caller that these headers authenticate, at least one.

        Raises:
            UnauthorizedError: the key is missing, unknown or expired; the message is the same.
        """
        callers = self.callers(headers)
        if not callers:
            raise UnauthorizedError(_REFUSED)
        return callers


def _presented(headers: Mapping[str, str]) -> str:
    key = headers.get("X-API-Key")
    if key is None:
        authorization = headers.get("Authorization", "")
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return ""
        key = authorization[len(_BEARER) :].strip()
    return key if key.isascii() else ""


def new_key() -> str:
    """Return a new key with 256 random bits; its prefix lets scanners recognise a leaked key."""
    return f"ap_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """Return the hash of a key, which the settings hold instead of the key.

    A plain SHA-256 is enough, because 256 random bits cannot be guessed as passwords can.
    """
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
