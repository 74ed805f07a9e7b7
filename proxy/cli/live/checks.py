"""Every system we call, asked now: what is wrong with it, in the words of whoever repairs it."""

import ssl
import textwrap
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from proxy.cli.live.connect import Result, Step, reach
from proxy.errors import ConfigurationError, ProxyError
from proxy.net.addresses import EgressPolicy
from proxy.oauth2.tokens import TokenRefused
from proxy.tickets.port import Inspection

STEP_WITHIN: Final = 10_000
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
_OF_THE_WAY: Final = frozenset({"discovery", "token"})
_WORDS: Final[Mapping[Result, str]] = {"ok": "ok", "failed": "FAILED", "skipped": "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One destination; what is None is not asked of it.

    `system` is the ticket system or the witboost instance that fails where this does. `way` is what
    we connect to, the URL itself or a proxy, and `may` which addresses that may have. `token` and
    `discover` return what they found, as a text that holds no secret;
    `preflight_checks` come last.
    """

    system: str
    url: str
    tls: ssl.SSLContext
    way: str
    may: EgressPolicy
    discover: Callable[[], Awaitable[str]] | None = None
    token: Callable[[], Awaitable[str]] | None = None
    ping: Callable[[], Awaitable[None]] | None = None
    preflight_checks: Mapping[str, Inspection] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at one destination."""

    probe: Probe
    steps: Sequence[Step]

    @property
    def failed(self) -> bool:
        """Whether any step failed."""
        return any(step.result == "failed" for step in self.steps)


async def examine(probes: Sequence[Probe], *, now: int, within: int = STEP_WITHIN) -> list[Finding]:
    """Return what is found at each destination, one after the other.

    An API is not asked without a token: it would only repeat why there is none. `now` is the wall
    clock, `within` what one step of the network may take, both in milliseconds.
    """
    findings: list[Finding] = []
    without_token: set[str] = set()
    for probe in probes:
        tls = probe.tls if probe.way == probe.url else None
        steps = await reach(probe.way, tls, may=probe.may, now=now, within=within)
        ready = steps[-1].result == "ok" and probe.system not in without_token
        for name, ask in _questions(probe):
            steps.append(await _asked(name, ask) if ready else _untried(name))
            ready = steps[-1].result == "ok"
        for name, inspect in probe.preflight_checks.items():  # each for itself
            steps.append(await _inspected(name, inspect) if ready else _untried(name))
        findings.append(Finding(probe, steps))
        if not ready and probe.token is not None:
            without_token.add(probe.system)
    return findings


def _questions(probe: Probe) -> Iterator[tuple[str, Callable[[], Awaitable[str]]]]:
    if probe.discover is not None:
        yield "discovery", probe.discover
    if probe.token is not None:
        yield "token", probe.token
    if (ping := probe.ping) is not None:

        async def permitted() -> str:
            await ping()
            return "the API answers and takes our credential"

        yield "API permission", permitted


async def _inspected(name: str, inspect: Inspection) -> Step:
    try:
        found = await inspect()
    except ProxyError as error:
        return Step(name, "failed", str(error), _cause(name, error))
    return Step(name, "ok" if found.proven else "skipped", found.said)


def _untried(name: str) -> Step:
    return Step(name, "skipped", "not tried: repair first what failed before")


async def _asked(name: str, ask: Callable[[], Awaitable[str]]) -> Step:
    try:
        return Step(name, "ok", await ask())
    except ProxyError as error:
        return Step(name, "failed", str(error), _cause(name, error))


def _cause(name: str, error: ProxyError) -> str:
    """Return in a word what a person must look at."""
    if isinstance(error, TokenRefused):
        return _CAUSES.get(error.code, "endpoint")
    own = name not in _OF_THE_WAY and isinstance(error, ConfigurationError)
    return name if own else "endpoint"


def table(findings: Sequence[Finding], width: int = 0) -> Iterator[str]:
    """Yield the lines a person reads, wrapped at `width` columns where it is not 0."""
    wide = max((len(_label(step)) for it in findings for step in it.steps), default=0)
    for finding in findings:
        yield f"{finding.probe.system}  {_place(finding.probe.url)}"
        for step in finding.steps:
            head = f"  {_WORDS[step.result]:<6}  {_label(step):<{wide}}  "
            yield from _wrapped(head, " ".join(step.said.split()), width)
        yield ""
    yield _verdict(findings)


def _label(step: Step) -> str:
    return step.name if step.wrong in {"", step.name} else f"{step.name} ({step.wrong})"


def _wrapped(head: str, said: str, width: int) -> Iterator[str]:
    if width < len(head) + 30:  # too narrow to wrap beside the columns: let the terminal do it
        yield head + said
        return
    indent = " " * len(head)
    yield from textwrap.wrap(
        said,
        width,
        initial_indent=head,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _verdict(findings: Sequence[Finding]) -> str:
    steps = [step for finding in findings for step in finding.steps]
    failed = sum(step.result == "failed" for step in steps)
    untried = sum(step.result == "skipped" for step in steps)
    if not failed:
        return f"All {len(steps) - untried} steps went well."
    later = f", {untried} not tried" if untried else ""
    return f"{failed} of {len(steps)} steps failed{later}."


def tree(findings: Sequence[Finding]) -> Mapping[str, Any]:
    """Return the same for programs."""
    return {
        "ok": not any(finding.failed for finding in findings),
        "steps": [
            {
                "system": finding.probe.system,
                "url": _place(finding.probe.url),
                "step": step.name,
                "result": step.result,
                **({"wrong": step.wrong} if step.wrong else {}),
                "said": step.said,
            }
            for finding in findings
            for step in finding.steps
        ],
    }


def _place(url: str) -> str:
    """Return the URL without its query, which nobody needs to see."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
