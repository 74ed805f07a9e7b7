"""The wire format of a hook call (Remote Request Hook API 0.1.0); pure, without I/O.

`read_hook_call` runs before every 202, so it checks only the contract. `approval_request` reads the
free-form fields later, when the ticket is created.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

import orjson

from proxy.domain.identities import Identities
from proxy.domain.models import ApprovalRequest
from proxy.errors import InvalidRequestError
from proxy.net.urls import normalise
from proxy.witboost import fields as read

NOBODY: Final = Identities()
"""An empty directory: only an identity that is an e-mail address has an address."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_JSON: Final = re.compile(r"application/json(?:[ \t]*;.*)?", re.IGNORECASE)
_ANY_DIGIT: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * 19


class HookCall(NamedTuple):
    """A hook call that satisfies the contract."""

    respond_to: str
    """The normalised `respondToUrl`."""
    body: bytes
    """The body as it was received."""
    content: str
    """Digest of `fields`; equal fields have the same one, in whatever order they are written."""
    request_id: str
    """The header `X-Request-ID`, a UUID."""


def read_hook_call(body: bytes, headers: Mapping[str, str], *, max_depth: int = 32) -> HookCall:
    """Return the hook call of a body and its headers; the mapping of headers must ignore case.

    Raises:
        InvalidRequestError: lists every problem; each message names the field or header.
    """
    problems: list[str] = []
    request_id = headers.get("X-Request-ID", "")
    if not _UUID.fullmatch(request_id):
        problems.append("X-Request-ID must be a UUID" if request_id else "X-Request-ID is missing")
    if not _JSON.fullmatch(headers.get("Content-Type", "")):
        problems.append("Content-Type must be application/json")
    respond_to, content = "", ""
    try:
        tree = _object(body, max_depth)
        respond_to = _respond_to(tree, problems)
        content = _content(tree, body, problems)
    except InvalidRequestError as error:
        problems.extend(error.problems)
    if problems:
        raise InvalidRequestError(*problems)
    return HookCall(respond_to, body, content, request_id)


def respond_to(body: bytes) -> str:
    """Return the normalised `respondToUrl` of an accepted body."""
    return normalise(orjson.loads(body)["respondToUrl"])


def content_of(body: bytes) -> str:
    """Return the digest of the `fields` of an accepted body, as in `HookCall.content`."""
    return _content(orjson.loads(body), body, [])


def approval_request(
    correlation_id: str,
    body: bytes,
    request_id: str,
    identities: Identities = NOBODY,
    *,
    allowed: Collection[str] | None = None,
) -> ApprovalRequest:
    """Return the approval request of an accepted body; absent or unusable values are empty.

    The contract promises only `fields` itself. Numbers keep every digit, so that an id looks the
    same in the ticket. `identities` maps people to e-mail addresses. If `allowed` is set, all other
    fields are removed, because the reader may not see them.
    """
    tree = json.loads(body) if _has_long_number(body) else orjson.loads(body)
    fields: Mapping[str, Any] = tree["fields"]
    if allowed is not None:
        fields = {name: value for name, value in fields.items() if name in allowed}
    return LazyApprovalRequest(
        correlation_id=correlation_id,
        respond_to=normalise(tree["respondToUrl"]),
        fields=fields,
        request_id=request_id,
        folded=read.Folded.of(fields),
        people=identities,
    )


_READ: Final[Mapping[str, Callable[[read.Fields], Any]]] = {
    "verb": read.verb,
    "identities": read.identities,
    "motivation": read.motivation,
    "requester": read.requester,
    "resource": read.resource,
    "resource_urn": read.resource_urn,
    "resource_name": read.resource_name,
    "resource_owner": read.resource_owner,
    "resource_link": read.resource_link,
    "duration": read.duration,
    "expires": read.expires,
}


class LazyApprovalRequest(ApprovalRequest):
    """An approval request that reads each free-form value on first access.

    Most templates, and every guard, use only a few of the values.
    """

    __slots__ = ("folded", "people")

    folded: read.Fields
    """The fields, with their names folded to one spelling."""
    people: Identities
    """Maps people to e-mail addresses."""

    def __init__(self, **values: Any) -> None:
        """Set the attributes that are not read on demand."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Read a value on first access, and keep it."""
        if name == "requester_email":
            value: Any = self.people.email_of(self.requester)
        elif name in _READ:
            value = _READ[name](self.folded)
        else:
            raise AttributeError(name)
        object.__setattr__(self, name, value)
        return value


def _object(body: bytes, max_depth: int) -> dict[str, Any]:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        position = f"line {error.lineno} column {error.colno}"
        raise InvalidRequestError(f"body is not JSON ({position}: {error.msg})") from error
    # the depth is at most the number of brackets, and counting is much faster than walking
    if body.count(b"{") + body.count(b"[") > max_depth and not _shallow(tree, max_depth):
        raise InvalidRequestError(f"body is nested deeper than {max_depth} levels")
    if not isinstance(tree, dict):
        raise InvalidRequestError("body must be a JSON object")
    return tree


def _shallow(tree: Any, levels: int) -> bool:
    if isinstance(tree, dict):
        return levels > 0 and all(_shallow(value, levels - 1) for value in tree.values())
    if isinstance(tree, list):
        return levels > 0 and all(_shallow(value, levels - 1) for value in tree)
    return True


def _respond_to(tree: Mapping[str, Any], problems: list[str]) -> str:
    match tree.get("respondToUrl"):
        case str(url):
            try:
                return normalise(url)
            except InvalidRequestError as error:
                problems.extend(error.problems)
        case None:
            problems.append("respondToUrl is missing")
        case _:
            problems.append("respondToUrl must be a string")
    return ""


def _has_long_number(body: bytes) -> bool:
    """True if a run of digits is so long that orjson might lose some of them.

    orjson turns integers beyond 64 bits (20 digits, or 19 and a sign) into floats; `json` is exact,
    but several times slower.
    """
    # several times faster than a regular expression, which would double the cost of reading
    return _LONG_NUMBER in body.translate(_ANY_DIGIT)


def _content(tree: Mapping[str, Any], body: bytes, problems: list[str]) -> str:
    """Return the digest of `fields`, written with sorted keys and without spaces.

    If a number is so long that orjson could make two ids equal, the exact parser reads it again.
    """
    fields = tree.get("fields")
    if not isinstance(fields, dict):
        problems.append("fields is missing" if fields is None else "fields must be a JSON object")
        return ""
    if _has_long_number(body):
        fields = json.loads(body)["fields"]
    try:
        spelling = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        spelling = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(spelling).hexdigest()
