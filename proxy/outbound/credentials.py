"""What proves who we are to a destination, and the proofs that need no token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Credential(Protocol):
    """What proves who we are to one destination."""

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
        """Return the headers for one call to this URL, by this method.

        Raises:
            ConfigurationError: none can be had until a person repairs something.
            TemporaryError: none can be had now; nothing was sent.
        """
        ...

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Note what an answer says about our proof.

        True: the call was refused for want of just that, and may be sent again at once.
        """
        ...

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        """Drop exactly the token that these headers carried; True: a fresh one may be tried."""
        ...


class _StaticCredential:
    """What is the same in every call, whatever was answered."""

    __slots__ = ()

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - the seam
        """Return False: an answer teaches nothing."""
        return False

    def invalidate(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - the seam
        """Return False: there is nothing that could be renewed, but by a person."""
        return False


class NoCredential(_StaticCredential):
    """Calls that prove nothing."""

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:  # noqa: ARG002 - the seam
        """Return no headers."""
        return {}


@dataclass(frozen=True, slots=True)
class StaticHeader(_StaticCredential):
    """A header such as an API key; `value` is asked for each call, as a file may be replaced."""

    name: str
    value: Callable[[], str] = field(repr=False)

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:  # noqa: ARG002 - the seam
        """Return the header."""
        return {self.name: self.value()}


@dataclass(frozen=True, slots=True)
class WithHeaders:
    """A credential with fixed headers beside it, such as the key of an API gateway."""

    credential: Credential
    beside: Mapping[str, Callable[[], str]] = field(repr=False)

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
        """Return them all; raises as the credential does."""
        proof = await self.credential.headers(url, method)
        return {**{name: value() for name, value in self.beside.items()}, **proof}

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Tell the credential, and return what it says."""
        return self.credential.on_response(url, status, headers)

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        """Tell the credential, and return what it says: nothing beside it can be renewed."""
        return self.credential.invalidate(headers)
