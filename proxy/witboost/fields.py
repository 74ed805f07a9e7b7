"""Readers of the free-form `fields`, for every spelling seen in witboost's documentation.

Case, `_` and `-` in the names of fields do not matter. No reader raises an error: if a value is
absent or has an unexpected type, the result is empty. Ticket templates can still use the value,
because `fields` itself is kept.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Self

from proxy.domain.models import Verb

Fields = Mapping[str, Any]


@lru_cache(maxsize=1_024)
def _fold(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


def _names(*names: str) -> tuple[str, ...]:
    return tuple(map(_fold, names))


_VERB: Final = _names("verb", "type", "requestType", "action", "spec")
_IDENTITIES: Final = _names("identities", "identity", "refs", "subjects", "subject", "petitioners")
_MOTIVATION: Final = _names("motivation", "reason", "justification")
_REQUESTER: Final = _names("requester", "requestedBy", "requestor", "actor", "petitioners")
_RESOURCE: Final = _names(
    *("resource", "requestedResource", "resources", "resourceUrn", "urn"),
    *("consumableInterface", "parentSystem"),
)
_NAME: Final = _names("resourceName", "resourceDisplayName")
_OWNER: Final = _names("owner", "resourceOwner", "productOwner", "dataProductOwner", "owners")
_LINK: Final = _names("link", "resourceLink", "resourceUrl", "url", "href", "relativeLink")
_DURATION: Final = _names(
    *("duration", "accessDuration", "requestedDuration", "defaultDuration", "validFor"),
    "indent.com/time/duration",
)
_EXPIRES: Final = _names(
    *("expires", "expiresAt", "expiresOn", "expireTime", "expiration", "expirationDate"),
    *("expiry", "expiryDate", "endDate", "endTime", "validUntil", "validTo", "until"),
    "indent.com/time/expires",
)

# names inside an identity or a resource, the most precise first
_IDENTITY_NAMES: Final = _names("userRef", "identity", "ref", "email", "name", "displayName")
_RESOURCE_NAMES: Final = _names(
    "consumableInterface", "urn", "displayName", "name", "id", "parentSystem"
)
_DISPLAY_NAMES: Final = _names("consumableInterface", "displayName", "name", "parentSystem")
_PARTS: Final = _names("consumableInterface", "parentSystem")
_LABELS: Final = _names("meta", "labels")
"""The objects in which Indent states how long access lasts."""
_VALUE: Final = _names("displayName", "value")
_SECONDS: Final = _names("seconds")

_URN: Final = "urn:"
_UNTIL_REVOKED: Final = "-1ns"  # Indent's duration of unlimited access

_VERBS: Final = {
    "grant": Verb.GRANT,
    "revoke": Verb.REVOKE,
    # the steps of witboost's access control request templates
    "access-request:send": Verb.GRANT,
    "revoke-request:send": Verb.REVOKE,
}
_MAX_DEPTH: Final = 5
"""Levels of nested objects and lists that are read; deeper ones are ignored."""


class Folded(dict[str, Any]):
    """An object whose names are folded to one spelling, once, because many names are looked up."""

    @classmethod
    def of(cls, tree: Fields, depth: int = _MAX_DEPTH + 1) -> Self:
        """Return the folded object, nested objects included; the first of two equal names wins."""
        if isinstance(tree, cls):
            return tree
        folded = cls()
        for name, value in tree.items():
            folded.setdefault(_fold(name), _folded_value(value, depth - 1))
        return folded


def _folded_value(tree: Any, depth: int) -> Any:
    match tree:
        case dict():
            return Folded.of(tree, depth) if depth else None
        case list():
            return [_folded_value(item, depth - 1) for item in tree] if depth else None
        case _:
            return tree


def verb(fields: Fields) -> Verb:
    """Return the requested verb; a grant if no field states one."""
    folded = Folded.of(fields)
    texts = (text.lower() for key in _VERB if key in folded for text in _texts(folded[key], _VERB))
    return next((_VERBS[text] for text in texts if text in _VERBS), Verb.GRANT)


def about_verb(name: str) -> bool:
    """True if a field with this name may state the verb."""
    return _fold(name) in _VERB


def identities(fields: Fields) -> list[str]:
    """Return the distinct identities that get or lose access, with prefixes such as `user:`."""
    return list(dict.fromkeys(_first(Folded.of(fields), _IDENTITIES, _IDENTITY_NAMES)))


def motivation(fields: Fields) -> str:
    """Return the reason for the request."""
    return "\n".join(_first(Folded.of(fields), _MOTIVATION, ()))


def requester(fields: Fields) -> str:
    """Return the requester: the reference if there is one, otherwise the name."""
    return ", ".join(_first(Folded.of(fields), _REQUESTER, _IDENTITY_NAMES))


def resource(fields: Fields) -> str:
    """Return the requested resource: the URN if there is one, otherwise the name."""
    return ", ".join(_first(Folded.of(fields), _RESOURCE, _RESOURCE_NAMES))


def resource_urn(fields: Fields) -> str:
    """Return the URN of the requested resource; empty if the request has none."""
    names = _first(Folded.of(fields), _RESOURCE, _RESOURCE_NAMES)
    return ", ".join(name for name in names if name.startswith(_URN))


def resource_name(fields: Fields) -> str:
    """Return the display name of the requested resource; empty if the request has none."""
    folded = Folded.of(fields)
    names = _first(folded, _NAME, ()) or _first(folded, _RESOURCE, _DISPLAY_NAMES)
    return ", ".join(name for name in names if not name.startswith(_URN))


def resource_owner(fields: Fields) -> str:
    """Return the owner of the requested resource."""
    return _of_resource(fields, _OWNER, _IDENTITY_NAMES)


def resource_link(fields: Fields) -> str:
    """Return the link to the resource: a web address, or a path below witboost's own."""
    link = _of_resource(fields, _LINK, ())
    return link if link.startswith(("https://", "http://", "/")) and " " not in link else ""


def duration(fields: Fields) -> str:
    """Return the requested duration as it is written in the request."""
    for tree in _nested(Folded.of(fields), _LABELS):
        if texts := _first(tree, _DURATION, _VALUE):
            return "" if texts == [_UNTIL_REVOKED] else ", ".join(texts)
        if seconds := _first(tree, _DURATION, _SECONDS):
            return f"{seconds[0]} seconds"
    return ""


def expires(fields: Fields) -> str:
    """Return the requested end of access as it is written in the request."""
    texts = (_first(tree, _EXPIRES, _VALUE) for tree in _nested(Folded.of(fields), _LABELS))
    return ", ".join(next(filter(None, texts), []))


def _of_resource(fields: Fields, keys: tuple[str, ...], within: tuple[str, ...]) -> str:
    """Return a property of the resource, of one of its parts, or else of the request itself."""
    folded = Folded.of(fields)
    for name in () if folded.keys().isdisjoint(_RESOURCE) else _RESOURCE:
        value = folded.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                for part in _nested(item, _PARTS):
                    if texts := _first(part, keys, within):
                        return ", ".join(texts)
    return ", ".join(_first(folded, keys, within))


def _nested(tree: Fields, names: tuple[str, ...]) -> Iterator[Fields]:
    """Yield an object, and the objects nested in it under one of these names."""
    yield tree
    for name in names:
        value = tree.get(name)
        if isinstance(value, dict):
            yield from _nested(value, names)


def _first(folded: Fields, keys: tuple[str, ...], within: tuple[str, ...]) -> list[str]:
    """Return the texts of the first key that has any; `within` are the keys of nested objects."""
    for key in () if folded.keys().isdisjoint(keys) else keys:
        if key in folded and (texts := list(_texts(folded[key], within))):
            return texts
    return []


def _texts(tree: Any, keys: tuple[str, ...], depth: int = _MAX_DEPTH) -> Iterator[str]:
    """Yield the texts of a value: of every item of a list, of the first such key of an object."""
    match tree:
        case bool():
            return
        case str() | int():
            if text := str(tree).strip():
                yield text
        case list() if depth:
            for item in tree:
                yield from _texts(item, keys, depth - 1)
        case dict() if depth:
            for key in keys:
                if texts := list(_texts(tree.get(key), keys, depth - 1)):
                    yield from texts
                    return
