"""Calls that are written down in place of being sent, from the place where they would go out.

Everything before the wire is the program's own: templates, origins, headers, credentials. Secrets
are not read: masks stand in their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from multidict import CIMultiDict
from typing_extensions import override
from yarl import URL

from proxy.app.token_sources import TokenSources
from proxy.domain.clock import Clock
from proxy.errors import TemporaryError
from proxy.oauth2.token_source import TokenSource
from proxy.oauth2.tokens import Token
from proxy.outbound.client import Outbound
from proxy.outbound.destination import Destination
from proxy.outbound.guarded_connector import Progress
from proxy.outbound.responses import Call, Response
from proxy.settings.oauth2 import OAuth2
from proxy.settings.secrets import MASK
from proxy.settings.ticket_systems import System

_NO_FILES: Final[Mapping[str, Any]] = {"ca_file": None, "client_certificate": None}


class WrittenDown(TemporaryError):  # noqa: N818 - the name of the fact
    """A call with an effect was written down, so there is no answer."""


@dataclass(frozen=True, slots=True)
class Written:
    """A call as it would be sent; `looks` says that it only asks."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    looks: bool


class Recording(Destination):
    """A destination from which nothing leaves.

    A call that may be repeated only asks: it is answered as by a system that knows nothing (404).
    Any other has an effect, and none comes after it.
    """

    written: list[Written]
    _looks: bool

    @override
    async def send(self, call: Call, *, repeatable: bool) -> Response:
        """Write the call down in place of sending it.

        Raises:
            WrittenDown: the call would have had an effect.
        """
        self._looks = repeatable
        return await super().send(call, repeatable=repeatable)

    @override
    async def exchange(
        self, call: Call, url: URL, proof: Mapping[str, str], progress: Progress
    ) -> Response:
        """Write the call down as it would go out, its proof masked."""
        headers = CIMultiDict(call.headers)
        headers.update({name: _masked(value) for name, value in proof.items()})
        plain = {str(name): value for name, value in headers.items()}
        shown = Written(call.method, str(url), plain, call.body, self._looks)
        self.written.append(shown)
        if not self._looks:
            raise WrittenDown(f"{self.name}: {call.place} was not sent")
        return Response(404, {}, b"", call.place)


class Recorder(Outbound):
    """Makes destinations that write down; `written` are their calls, in order."""

    kind = Recording

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Written] = []

    @override
    def destination(self, name: str, **how: Any) -> Destination:
        """Return a destination that writes its calls down here, and needs no certificate."""
        made = super().destination(name, **{**how, **_NO_FILES})
        assert isinstance(made, Recording)
        made.written = self.written
        return made


class _Mask(TokenSource):
    """Gives a mask for a token, and for the proof of its key; asks nobody."""

    def __init__(self, clock: Clock, *, scheme: str, bound: bool) -> None:
        super().__init__(fetch=_nothing, clock=clock, dice=lambda: 0.0, name="")
        self._proofs = {"Authorization": f"{'DPoP' if bound else scheme} {MASK}"}
        self._proofs |= {"DPoP": MASK} if bound else {}

    @override
    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
        """Return the headers of a call, masked."""
        return self._proofs


class MaskedTokens(TokenSources):
    """Gives masks for tokens, and asks nobody for them."""

    @override
    def for_system(self, name: str, system: System, auth: OAuth2) -> TokenSource:
        """Return what stands for a ticket system's tokens."""
        return _Mask(self.clock, scheme=auth.scheme, bound=auth.dpop_key is not None)


async def _nothing() -> Token:
    raise AssertionError("a mask was asked for a token")


def _masked(value: str) -> str:
    """Return a proof with its scheme, where it has one (RFC 9110 11.4), and a mask."""
    scheme, _, _ = value.rpartition(" ")
    return f"{scheme} {MASK}".strip()
