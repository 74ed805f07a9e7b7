"""HTTP calls, their responses, and the error that each status means for the caller: pure.

A `Destination` sends them. Every adapter calls `raise_for_status`, so that one HTTP status leads to
the same kind of error everywhere.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote_plus

import orjson
from typing_extensions import override

from proxy.domain.clock import SystemClock
from proxy.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)

LONGEST_EXCERPT: Final = 200
SHORTEST_SECRET: Final = 8

_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u200b-\u200f\u202a-\u202e]+")
_UNIX_DIGITS: Final = 10  # of the seconds since the epoch, for some centuries
_ERA: Final = 10**12  # milliseconds: later is a moment, earlier a duration
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_MESSAGE_KEYS: Final = (
    ("error_description",),
    ("error",),
    ("message", "detail"),  # ServiceNow: what failed, and why
    ("errorMessage",),
    ("errorMessages", "errors"),  # Jira: what failed, and in which fields
    ("detail",),
    ("title",),
)
"""Keys of an error message in the usual JSON bodies; keys of one group are quoted together."""


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One HTTP call without its credential."""

    method: str
    """The HTTP method."""
    url: str
    """The absolute URL, percent-encoded as it is sent."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """All headers but those of the credential and the connection."""
    body: bytes | None = None
    """The body; None sends none."""
    secrets: tuple[str, ...] = ()
    """Secrets in it, which are removed from a refusal that repeats them."""

    @property
    def label(self) -> str:
        """Method, origin and path, for messages; a query is left out, as it may hold a secret."""
        scheme, mark, rest = self.url.partition("?")[0].partition("#")[0].partition("://")
        if not mark:
            return f"{self.method} (not a URL)"
        origin, slash, path = rest.partition("/")
        return f"{self.method} {scheme}{mark}{origin.rpartition('@')[2]}{slash}{path}"

    @override
    def __repr__(self) -> str:
        return f"Call({self.label})"


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """A response, whatever its status."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The headers, by names in which case does not matter."""
    body: bytes
    """The body, at most as long as the destination's limit."""
    label: str = "the call"
    """The call that it answers, for messages (`Call.label`)."""

    def json(self) -> Any:
        """Return the parsed body.

        Raises:
            TemporaryError: it is not JSON; often it is a proxy's page, so what happened is unknown.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise TemporaryError(
                f"{self.label} answered {self.status}, but the body is not JSON ({error.msg}):"
                " check that the URL is that of the API and not of a page or a proxy before it"
            ) from error

    @override
    def __repr__(self) -> str:
        return f"Response({self.status} of {self.label})"


def raise_for_status(answer: Response, call: Call, *, system: str) -> None:
    """Return for a 2xx; raise the error that any other status means for a caller of `system`.

    Raises:
        ConfigurationError: 401 and 403, which may concern this one request only.
        NotFoundError: 404 and 410.
        ConflictError: 409.
        TemporaryError: 408 and 5xx; 425 and 429.
        PermanentError: 3xx, which is never followed, and every other 4xx.

    The last two have `maybe_sent` if the call may have had its effect.
    """
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success (RFC 9110 15.3)
        return
    reason = ", ".join(filter(None, (excerpt(answer), headers_reason(answer.headers))))
    what = f"{system} answered {status} to {call.label}" + (f" ({reason})" if reason else "")
    if status in {401, 403}:
        raise ConfigurationError(
            f"{what}: check the credential and the permissions of its account",
            request_specific=True,
        )
    if status in {404, 410}:
        raise NotFoundError(
            f"{what}: check that it exists and that our account may see it", status=status
        )
    if status == 409:  # noqa: PLR2004 - Conflict (RFC 9110 15.5.10)
        raise ConflictError(what, status=status)
    if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004 - server errors
        pause = retry_after(status, answer.headers, SystemClock().now())
        raise TemporaryError(
            f"{what}: it will be tried again",
            retry_after=pause,
            maybe_sent=maybe_acted(status),
            rate_limited=_limits_all(status, answer.headers, pause),
        )
    why = "it refused what we sent"
    if status < 400:  # noqa: PLR2004 - redirections
        why = "redirects are never followed, correct the URL"
    raise PermanentError(f"{what}: {why}", status=status, maybe_sent=maybe_acted(status))


def maybe_acted(status: int) -> bool:
    """Return True if a call with this error status may have had its effect.

    A 4xx means that it had none (RFC 9110 15.5), with two exceptions: 408, and 406, with which
    frameworks answer when they only cannot write the result in a form that we accept. A redirect
    may lead to what a POST has created (303, and 301 and 302 as they are used).
    """
    return status in {406, 408} or not 400 <= status < 500  # noqa: PLR2004 - client errors


def _limits_all(status: int, headers: Mapping[str, str], pause: int | None) -> bool:
    """Return True if a response asks for fewer calls of any kind, not only of this one.

    Jira also limits the writes of one issue, and says so in `RateLimit-Reason`.
    """
    if "per-issue" in headers.get("RateLimit-Reason", ""):
        return False
    return status == 429 or (status == 503 and pause is not None)  # noqa: PLR2004 - RFC 6585 4


def headers_reason(headers: Mapping[str, str]) -> str:
    """Return the rate limit that was reached, if the other side names it (Atlassian)."""
    return quote(headers.get("RateLimit-Reason", ""))


def retry_after(status: int, headers: Mapping[str, str], now: int) -> int | None:
    """Return the pause that the other side asked for, in milliseconds; None if it asked for none.

    `Retry-After` is seconds or an HTTP date (RFC 9110 10.2.3). Without it the `X-RateLimit-Reset`
    or `RateLimit-Reset` of a limit that was reached counts: many APIs send in every response when
    the next hour begins. A date is compared with the response's own Date, so that a wrong clock
    does not matter, or with `now` (milliseconds) if it has none.
    """
    pause = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(pause):
        return int(pause) * 1_000
    met = status == 429 or "0" in (headers.get(f"{x}RateLimit-Remaining") for x in ("X-", ""))  # noqa: PLR2004 - RFC 6585 4
    reset = headers.get("X-RateLimit-Reset", "") or headers.get("RateLimit-Reset", "")
    reset = reset if met else ""
    until = http_date(pause) or _reset(reset.strip())
    if until is None:
        return None
    sent = http_date(headers.get("Date", ""))
    here = now if sent is None else sent
    return max(0, until - here) if until >= _ERA else until


def _reset(text: str) -> int | None:
    """Return the end of a rate limit in milliseconds: since the epoch, or from now if few.

    ServiceNow sends Unix seconds, Atlassian an ISO 8601 time, others the seconds that are left.
    """
    if _SECONDS.fullmatch(text) or (text.isdecimal() and len(text) == _UNIX_DIGITS):
        return int(text) * 1_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int(moment.timestamp() * 1_000) if moment.tzinfo else None


def http_date(text: str) -> int | None:
    """Return an HTTP date (RFC 9110 5.6.7) as Unix milliseconds; None if it is not one."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000


def excerpt(answer: Response) -> str:
    """Return the other side's error message, on one line of at most 200 characters.

    It comes from JSON in the usual shapes, or is plain text; never a page of HTML.
    """
    text = answer.body.decode("utf-8", "replace").strip()
    try:
        message = " ".join(_messages(orjson.loads(answer.body), depth=4))
    except orjson.JSONDecodeError:
        page = text.startswith("<") or "html" in answer.headers.get("Content-Type", "").lower()
        message = "" if page else text
    return quote(message)


def without_secrets(body: bytes, secrets: Iterable[str]) -> bytes:
    """Return a refusal's body without our own secrets, which some servers repeat.

    They are removed as they are, and as a form or JSON would spell them.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            escaped = (json.dumps(secret, ensure_ascii=plain)[1:-1] for plain in (True, False))
            for spelling in (secret, quote_plus(secret), *escaped):
                body = body.replace(spelling.encode(), b"***")
    return body


def quote(text: str) -> str:
    """Return a text of the other side for a message: on one line, cut at 200 characters."""
    line = _UNPRINTABLE.sub(" ", text[: 4 * LONGEST_EXCERPT]).strip()
    return line if len(line) <= LONGEST_EXCERPT else line[: LONGEST_EXCERPT - 1] + "…"


def _messages(tree: Any, depth: int) -> Iterator[str]:
    """Yield the first error message, or all of a list of problems."""
    match tree:
        case str():
            yield tree
        case list() if depth:
            for item in tree[:5]:
                yield from _messages(item, depth - 1)
        case dict() if depth:
            for keys in _MESSAGE_KEYS:
                texts = [text for key in keys for text in _messages(tree.get(key), depth - 1)]
                if any(texts):
                    yield from texts
                    return
            # Jira keys its problems by field: {"errors": {"summary": "is required"}}
            if depth < 4:  # noqa: PLR2004 - never the whole answer, which may be a ticket
                yield from (f"{key}: {text}" for key, text in tree.items() if isinstance(text, str))
