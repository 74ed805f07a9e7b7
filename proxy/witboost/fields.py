"""Reading `fields`: free-form by contract, so every spelling seen in witboost's documentation.

Case, `_` and `-` in the names of fields do not matter. Nothing here raises, whatever the values
are; what is absent or strange is empty, and stays in `fields` for the ticket's templates.
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

# what names a person or group, and what names a thing: the most exact first
_WHO: Final = _names("userRef", "identity", "ref", "email", "name", "displayName")
_WHAT: Final = _names("consumableInterface", "urn", "displayName", "name", "id", "parentSystem")
_CALLED: Final = _names("consumableInterface", "displayName", "name", "parentSystem")
_PARTS: Final = _names("consumableInterface", "parentSystem")
_ASIDE: Final = _names("meta", "labels")
"""Where Indent keeps for how long access lasts."""
_VALUE: Final = _names("displayName", "value")
_SECONDS: Final = _names("seconds")

_URN: Final = "urn:"
_UNTIL_REVOKED: Final = "-1ns"  # Indent's duration of what has no end

_VERBS: Final = {
    "grant": Verb.GRANT,
    "revoke": Verb.REVOKE,
    # the steps of witboost's access control request templates
    "access-request:send": Verb.GRANT,
    "revoke-request:send": Verb.REVOKE,
}
_DEEPEST: Final = 5


class Folded(dict[str, Any]):
    """An object whose names have one spelling; made once, as many names are looked up in it."""

    @classmethod
    def of(cls, tree: Fields, depth: int = _DEEPEST + 1) -> Self:
        """Return it, with the objects in it; of two names that are alike the first counts."""
        if isinstance(tree, cls):
            return tree
        folded = cls()
        for name, value in tree.items():
            folded.setdefault(_fold(name), _below(value, depth - 1))
        return folded


def _below(tree: Any, depth: int) -> Any:
    match tree:
        case dict():
            return Folded.of(tree, depth) if depth else None
        case list():
            return [_below(item, depth - 1) for item in tree] if depth else None
        case _:
            return tree


def verb(fields: Fields) -> Verb:
    """Return what is asked for; where no field says, it is a grant."""
    known = Folded.of(fields)
    words = (word.lower() for key in _VERB if key in known for word in _words(known[key], _VERB))
    return next((_VERBS[word] for word in words if word in _VERBS), Verb.GRANT)


def about_verb(name: str) -> bool:
    """Whether a field of this name may say what is asked for."""
    return _fold(name) in _VERB


def identities(fields: Fields) -> list[str]:
    """Return who gets or loses access, each once, prefixes such as `user:` kept as they are."""
    return list(dict.fromkeys(_first(Folded.of(fields), _IDENTITIES, _WHO)))


def motivation(fields: Fields) -> str:
    """Return why access is asked for."""
    return "\n".join(_first(Folded.of(fields), _MOTIVATION, ()))


def requester(fields: Fields) -> str:
    """Return who asks: the reference where there is one, else the name."""
    return ", ".join(_first(Folded.of(fields), _REQUESTER, _WHO))


def resource(fields: Fields) -> str:
    """Return what access is asked to: the URN where there is one, else the name."""
    return ", ".join(_first(Folded.of(fields), _RESOURCE, _WHAT))


def resource_urn(fields: Fields) -> str:
    """Return the URN of what access is asked to, if one is given."""
    found = _first(Folded.of(fields), _RESOURCE, _WHAT)
    return ", ".join(word for word in found if word.startswith(_URN))


def resource_name(fields: Fields) -> str:
    """Return what people call the thing that access is asked to, if that is given."""
    found = _first(Folded.of(fields), _NAME, ()) or _first(Folded.of(fields), _RESOURCE, _CALLED)
    return ", ".join(word for word in found if not word.startswith(_URN))


def resource_owner(fields: Fields) -> str:
    """Return who owns the thing that access is asked to."""
    return _of_resource(fields, _OWNER, _WHO)


def resource_link(fields: Fields) -> str:
    """Return where the thing is shown: a web address, or a path below witboost's."""
    link = _of_resource(fields, _LINK, ())
    return link if link.startswith(("https://", "http://", "/")) and " " not in link else ""


def duration(fields: Fields) -> str:
    """Return for how long access is asked for, in the words of the request."""
    for holder in _holders(Folded.of(fields), _ASIDE):
        if found := _first(holder, _DURATION, _VALUE):
            return "" if found == [_UNTIL_REVOKED] else ", ".join(found)
        if seconds := _first(holder, _DURATION, _SECONDS):
            return f"{seconds[0]} seconds"
    return ""


def expires(fields: Fields) -> str:
    """Return until when access is asked for, in the words of the request."""
    found = (_first(holder, _EXPIRES, _VALUE) for holder in _holders(Folded.of(fields), _ASIDE))
    return ", ".join(next(filter(None, found), []))


def _of_resource(fields: Fields, keys: tuple[str, ...], within: tuple[str, ...]) -> str:
    """Return what is said of the resource, or of one of its parts, or else beside it."""
    known = Folded.of(fields)
    for name in () if known.keys().isdisjoint(_RESOURCE) else _RESOURCE:
        things = known.get(name)
        for thing in things if isinstance(things, list) else [things]:
            if isinstance(thing, dict):
                for part in _holders(thing, _PARTS):
                    if found := _first(part, keys, within):
                        return ", ".join(found)
    return ", ".join(_first(known, keys, within))


def _holders(tree: Fields, inner: tuple[str, ...]) -> Iterator[Fields]:
    """Yield an object, and those in it that have one of these names."""
    yield tree
    for name in inner:
        below = tree.get(name)
        if isinstance(below, dict):
            yield from _holders(below, inner)


def _first(known: Fields, keys: tuple[str, ...], within: tuple[str, ...]) -> list[str]:
    """Return what the first of the keys says that says anything, in an object that is folded."""
    for key in () if known.keys().isdisjoint(keys) else keys:
        if key in known and (found := list(_words(known[key], within))):
            return found
    return []


def _words(tree: Any, keys: tuple[str, ...], depth: int = _DEEPEST) -> Iterator[str]:
    """Yield the texts of a value: all of a list, of an object the first of the keys."""
    match tree:
        case bool():
            return
        case str() | int():
            if word := str(tree).strip():
                yield word
        case list() if depth:
            for item in tree:
                yield from _words(item, keys, depth - 1)
        case dict() if depth:
            for key in keys:
                if found := list(_words(tree.get(key), keys, depth - 1)):
                    yield from found
                    return
