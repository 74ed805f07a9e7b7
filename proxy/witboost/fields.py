"""Reading `fields`: free-form by contract, so every spelling seen in witboost's documentation.

Nothing here raises, whatever the values are; what is absent or strange is empty, and stays in
`fields` for the ticket's templates.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.domain.models import Verb

Fields = Mapping[str, Any]

_VERB: Final = ("verb", "type", "requestType", "action", "spec")
_IDENTITIES: Final = ("identities", "identity", "refs", "subjects", "subject")
_MOTIVATION: Final = ("motivation", "reason", "justification")
_REQUESTER: Final = ("requester", "requestedBy", "requestor")
_RESOURCE: Final = (
    "resource",
    "requestedResource",
    "resourceUrn",
    "urn",
    "consumableInterface",
    "parentSystem",
)

# what names a person or group, and what names a thing: the most exact first
_WHO: Final = ("userRef", "identity", "ref", "email", "name", "displayName")
_WHAT: Final = ("consumableInterface", "urn", "displayName", "name", "id", "parentSystem")

_VERBS: Final = {
    "grant": Verb.GRANT,
    "revoke": Verb.REVOKE,
    # the steps of witboost's access control request templates
    "access-request:send": Verb.GRANT,
    "revoke-request:send": Verb.REVOKE,
}
_DEEPEST: Final = 5


def verb(fields: Fields) -> Verb:
    """Return what is asked for; where no field says, it is a grant."""
    for key in _VERB:
        for word in _words(fields.get(key), _VERB):
            if word.lower() in _VERBS:
                return _VERBS[word.lower()]
    return Verb.GRANT


def identities(fields: Fields) -> list[str]:
    """Return who gets or loses access, each once, prefixes such as `user:` kept as they are."""
    return list(dict.fromkeys(_first(fields, _IDENTITIES, _WHO)))


def motivation(fields: Fields) -> str:
    """Return why access is asked for."""
    return "\n".join(_first(fields, _MOTIVATION, ()))


def requester(fields: Fields) -> str:
    """Return who asks: the reference where there is one, else the name."""
    return ", ".join(_first(fields, _REQUESTER, _WHO))


def resource(fields: Fields) -> str:
    """Return what access is asked to: the URN where there is one, else the name."""
    return ", ".join(_first(fields, _RESOURCE, _WHAT))


def _first(fields: Fields, keys: tuple[str, ...], within: tuple[str, ...]) -> list[str]:
    """Return what the first of the keys says that says anything."""
    found = (list(_words(fields.get(key), within)) for key in keys)
    return next(filter(None, found), [])


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
