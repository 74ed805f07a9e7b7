"""Who calls: named clients with API keys that we know by their hash alone."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.domain.api_keys import hash_key
from proxy.errors import Unauthorized

ANONYMOUS: Final = "anonymous"
_BEARER: Final = "bearer "
_REFUSED: Final = "X-API-Key is missing or not valid: send a live key there, or as a bearer token."


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that proved its name; `instance` is its witboost instance, empty for operators."""

    name: str
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """A caller and the hashes (`sha256:...`) of its live keys, several while one is replaced."""

    caller: Caller
    hashes: frozenset[str]


class Clients:
    """Finds callers by key; `open_to` names instances whose authentication is switched off."""

    def __init__(self, clients: Sequence[Client], *, open_to: Sequence[str] = ()) -> None:
        self._keys = [(digest, client.caller) for client in clients for digest in client.hashes]
        self._anonymous = [Caller(ANONYMOUS, instance) for instance in open_to]

    def known(self, headers: Mapping[str, str]) -> list[Caller]:
        """Return everybody that this call may come from; the best proof comes first.

        Every stored hash is compared, each in constant time, so that the time tells nothing.
        """
        presented = hash_key(_presented(headers))
        # a plain loop would stop at the first match
        matches = [
            caller for digest, caller in self._keys if hmac.compare_digest(digest, presented)
        ]
        return matches + self._anonymous

    def identify(self, headers: Mapping[str, str]) -> list[Caller]:
        """Return everybody that this call may come from, at least one.

        Raises:
            Unauthorized: nobody; one message for no key, an unknown one and a withdrawn one.
        """
        callers = self.known(headers)
        if not callers:
            raise Unauthorized(_REFUSED)
        return callers


def _presented(headers: Mapping[str, str]) -> str:
    key = headers.get("X-API-Key")
    if key is None:
        authorization = headers.get("Authorization", "")
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return ""
        key = authorization[len(_BEARER) :].strip()
    return key if key.isascii() else ""
