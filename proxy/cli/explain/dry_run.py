"""A dry run of outgoing calls: they are recorded instead of being sent.

Everything before the wire is the code of the service: templates, origins, headers, credentials.
Secrets are not read; masks replace them.
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


class NotSentError(TemporaryError):
    """A call with an effect was recorded, so nothing can answer it."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call as it would be sent; `repeatable` is True for a call without an effect."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    repeatable: bool


class RecordingDestination(Destination):
    """A destination that sends nothing.

    A repeatable call has no effect: it is answered 404, as by a system without any ticket. The
    first other call is the last one.
    """

    calls: list[RecordedCall]
    _repeatable: bool

    @override
    async def send(self, call: Call, *, repeatable: bool) -> Response:
        """Record the call.

        Raises:
            NotSentError: the call would have had an effect.
        """
        self._repeatable = repeatable
        return await super().send(call, repeatable=repeatable)

    @override
    async def exchange(
        self, call: Call, url: URL, proof: Mapping[str, str], progress: Progress
    ) -> Response:
        """Record the call as it would be sent, with masked credentials."""
        headers = CIMultiDict(call.headers)
        headers.update({name: _masked(value) for name, value in proof.items()})
        plain = {str(name): value for name, value in headers.items()}
        self.calls.append(RecordedCall(call.method, str(url), plain, call.body, self._repeatable))
        if not self._repeatable:
            raise NotSentError(f"{self.name}: {call.label} was not sent")
        return Response(404, {}, b"", call.label)


class Recorder(Outbound):
    """Creates destinations that record; `calls` are their calls, in order."""

    kind = RecordingDestination

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[RecordedCall] = []

    @override
    def destination(self, name: str, **how: Any) -> Destination:
        """Return a destination that records its calls here, and needs no certificate."""
        destination = super().destination(name, **{**how, **_NO_FILES})
        assert isinstance(destination, RecordingDestination)
        destination.calls = self.calls
        return destination


class _Mask(TokenSource):
    """A source of masks for a token, and for the proof of its key; it requests nothing."""

    def __init__(self, clock: Clock, *, scheme: str, bound: bool) -> None:
        super().__init__(fetch=_never, clock=clock, dice=lambda: 0.0, name="")
        self._proofs = {"Authorization": f"{'DPoP' if bound else scheme} {MASK}"}
        self._proofs |= {"DPoP": MASK} if bound else {}

    @override
    async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
        """Return the headers of a call, masked."""
        return self._proofs


class MaskedTokens(TokenSources):
    """Token sources that return masks, and request nothing."""

    @override
    def for_system(self, name: str, system: System, auth: OAuth2) -> TokenSource:
        """Return the mask of a ticket system's tokens."""
        return _Mask(self.clock, scheme=auth.scheme, bound=auth.dpop_key is not None)


async def _never() -> Token:
    raise AssertionError("a mask fetches no token")


def _masked(value: str) -> str:
    """Return a mask, after the scheme of the credential if it has one (RFC 9110 11.4)."""
    scheme, _, _ = value.rpartition(" ")
    return f"{scheme} {MASK}".strip()
