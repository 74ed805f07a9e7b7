"""Who calls: named clients with API keys that we know by their hash alone."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from proxy.domain.clock import Clock, SystemClock
from proxy.errors import ForbiddenError, UnauthorizedError
from proxy.security.api_keys import hash_key

Role = Literal["read", "operate", "admin"]
_ROLES: Final = get_args(Role)
ANONYMOUS: Final = "anonymous"
_BEARER: Final = "bearer "
_REFUSED: Final = "X-API-Key is missing or not valid: send a live key there, or as a bearer token."


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that proved its name; `instance` is its witboost instance, empty for operators.

    `role` is what an operator may do, each including the ones before it.
    """

    name: str
    instance: str = ""
    role: Role = field(default="read", compare=False)


@dataclass(frozen=True, slots=True)
class Client:
    """A caller and the hashes (`sha256:...`) of its keys, several while one is replaced.

    Each with the moment, in milliseconds since the epoch, when it is over, if it ever is.
    """

    caller: Caller
    keys: Mapping[str, int | None]


class Clients:
    """Finds callers by key; `open_to` names instances whose authentication is switched off."""

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

    def known(self, headers: Mapping[str, str]) -> list[Caller]:
        """Return everybody that this call may come from; the best proof comes first.

        Every stored hash is compared, each in constant time, so that the time tells nothing.
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

    def permitted(self, headers: Mapping[str, str], role: Role) -> Caller:
        """Return the operator that this call comes from.

        Raises:
            Unauthorized: nobody.
            Forbidden: somebody who may do less than this role.
        """
        caller = self.identify(headers)[0]
        if _ROLES.index(caller.role) < _ROLES.index(role):
            raise ForbiddenError(
                f"{caller.name} has the role {caller.role}, and this needs {role}: ask whoever"
                " keeps operators.clients in the settings"
            )
        return caller

    def identify(self, headers: Mapping[str, str]) -> list[Caller]:
        """Return everybody that this call may come from, at least one.

        Raises:
            Unauthorized: nobody; one message for no key, an unknown one and a withdrawn one.
        """
        callers = self.known(headers)
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
