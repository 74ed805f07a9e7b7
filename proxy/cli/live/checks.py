"""The checks of `check --live`: one destination after the other, with the cause of each failure."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.cli.live.connect import Step, connect
from proxy.errors import ConfigurationError, ProxyError
from proxy.net.addresses import EgressPolicy
from proxy.oauth2.tokens import TokenRefused
from proxy.tickets.port import Inspection

STEP_LIMIT: Final = 10_000
_CAUSES: Final = {
    "invalid_client": "client",
    "unauthorized_client": "client",
    "access_denied": "client",
    "invalid_dpop_proof": "client",
    "unsupported_grant_type": "grant",
    "invalid_grant": "grant",
    "invalid_scope": "scope",
    "insufficient_scope": "scope",
    "invalid_target": "scope",
}
_AUTHORIZATION: Final = frozenset({"discovery", "token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One destination and what to ask it; a question that is None is not asked."""

    system: str
    """The ticket system or witboost instance that fails if this destination does."""
    url: str
    """The URL in the settings."""
    tls: ssl.SSLContext
    """The trust in the server of `url`."""
    connect_url: str
    """The URL that we connect to: `url` itself, or a proxy."""
    egress: EgressPolicy
    """The addresses that `connect_url` may have."""
    discover: Callable[[], Awaitable[str]] | None = None
    """Reads the authorization server's metadata; returns a message without secrets."""
    token: Callable[[], Awaitable[str]] | None = None
    """Requests an access token; returns a message without secrets."""
    ping: Callable[[], Awaitable[None]] | None = None
    """Calls the API."""
    preflight_checks: Mapping[str, Inspection] = field(default_factory=dict)
    """Further checks of a ticket system by name, made last."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The steps that were taken at one destination."""

    probe: Probe
    steps: Sequence[Step]

    @property
    def failed(self) -> bool:
        """True if any step failed."""
        return any(step.result == "failed" for step in self.steps)


async def examine(
    probes: Sequence[Probe], *, now: int, limit: int = STEP_LIMIT
) -> AsyncIterator[Finding]:
    """Yield the finding of each destination, one after the other.

    An API is not called without a token: it would only repeat why there is none. `now` is the wall
    clock, `limit` the longest time of one network step, both in milliseconds.
    """
    without_token: set[str] = set()
    for probe in probes:
        tls = probe.tls if probe.connect_url == probe.url else None
        steps = await connect(probe.connect_url, tls, egress=probe.egress, now=now, limit=limit)
        ready = steps[-1].result == "ok" and probe.system not in without_token
        for name, ask in _questions(probe):
            steps.append(await _ask(name, ask) if ready else _skipped(name))
            ready = steps[-1].result == "ok"
        for name, inspect in probe.preflight_checks.items():  # none depends on another
            steps.append(await _inspect(name, inspect) if ready else _skipped(name))
        if not ready and probe.token is not None:
            without_token.add(probe.system)
        yield Finding(probe, steps)


def _questions(probe: Probe) -> Iterator[tuple[str, Callable[[], Awaitable[str]]]]:
    if probe.discover is not None:
        yield "discovery", probe.discover
    if probe.token is not None:
        yield "token", probe.token
    if (ping := probe.ping) is not None:

        async def permitted() -> str:
            await ping()
            return "the API answers and accepts our credential"

        yield "API permission", permitted


async def _inspect(name: str, inspect: Inspection) -> Step:
    try:
        result = await inspect()
    except ProxyError as error:
        return Step(name, "failed", str(error), _cause(name, error))
    return Step(name, "ok" if result.proven else "skipped", result.message)


def _skipped(name: str) -> Step:
    return Step(name, "skipped", "not tried: first repair the step that failed")


async def _ask(name: str, ask: Callable[[], Awaitable[str]]) -> Step:
    try:
        return Step(name, "ok", await ask())
    except ProxyError as error:
        return Step(name, "failed", str(error), _cause(name, error))


def _cause(name: str, error: ProxyError) -> str:
    """Return the cause in a word: the part of the configuration to repair."""
    if isinstance(error, TokenRefused):
        return _CAUSES.get(error.code, "endpoint")
    own = name not in _AUTHORIZATION and isinstance(error, ConfigurationError)
    return name if own else "endpoint"
