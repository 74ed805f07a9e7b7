"""What proves who we are to a destination, and the two proofs that need no token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Credential(Protocol):
    """What proves who we are to one destination."""

    async def headers(self, url: str) -> Mapping[str, str]:
        """Return the headers for a call to this URL.

        Raises:
            ConfigurationError: none can be had until a person repairs something.
            TemporaryError: none can be had now; nothing was sent.
        """
        ...

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Drop exactly the token that these headers carried; True: a fresh one may be tried."""
        ...


class NoCredential:
    """Calls that prove nothing."""

    async def headers(self, url: str) -> Mapping[str, str]:  # noqa: ARG002 - same for every URL
        """Return no headers."""
        return {}

    def refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing to drop
        """Return False: there is nothing to renew."""
        return False


@dataclass(frozen=True, slots=True)
class StaticHeader:
    """A header such as an API key; `value` is asked for each call, as a file may be replaced."""

    name: str
    value: Callable[[], str] = field(repr=False)

    async def headers(self, url: str) -> Mapping[str, str]:  # noqa: ARG002 - same for every URL
        """Return the header."""
        return {self.name: self.value()}

    def refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing to drop
        """Return False: only a person can renew it."""
        return False
