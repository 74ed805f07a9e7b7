"""Credentials for a destination: the interface, and those that need no token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Credential(Protocol):
    """Proof of our identity to one destination: a token, a fixed header, or nothing."""

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
        """Return the headers for one call to this URL, by this method.

        Raises:
            ConfigurationError: a person must repair something first.
            TemporaryError: it cannot be had now; nothing was sent.
        """
        ...

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Read what a response says about the credential, such as a nonce for the next proof.

        True if the call was refused only because it lacked that: it may be sent again at once.
        """
        ...

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        """Drop exactly the token that these headers carried; True if a fresh one may be tried."""
        ...


class _StaticCredential:
    """A credential that is the same in every call, whatever the responses."""

    __slots__ = ()

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - the seam
        """Return False: no response changes the credential."""
        return False

    def invalidate(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - the seam
        """Return False: only a person can renew the credential."""
        return False


class NoCredential(_StaticCredential):
    """Calls without a credential."""

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:  # noqa: ARG002 - the seam
        """Return no headers."""
        return {}


@dataclass(frozen=True, slots=True)
class StaticHeader(_StaticCredential):
    """A fixed header, such as an API key."""

    name: str
    """The name of the header."""
    value: Callable[[], str] = field(repr=False)
    """Returns its value; called for every call, because the file may have been replaced."""

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:  # noqa: ARG002 - the seam
        """Return the header."""
        return {self.name: self.value()}


@dataclass(frozen=True, slots=True)
class WithHeaders:
    """A credential and fixed headers, such as the key of an API gateway."""

    credential: Credential
    """The credential, whose headers win over the fixed ones."""
    extra: Mapping[str, Callable[[], str]] = field(repr=False)
    """The fixed headers, each with what returns its value."""

    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
        """Return all headers; raises as the credential does."""
        proof = await self.credential.headers(url, method)
        return {**{name: value() for name, value in self.extra.items()}, **proof}

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Pass the response on to the credential."""
        return self.credential.on_response(url, status, headers)

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        """Invalidate the credential: the fixed headers cannot be renewed."""
        return self.credential.invalidate(headers)
