"""What is wrong with settings, in words for the person who wrote them."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.sources import Key, Origins, variable_of

_UNKNOWN: Final = "extra_forbidden"
_SECTION: Final = "must be a section of `name: value` lines, or in the environment JSON"
_LIST: Final = "must be a list, [one, two]"


def unknown_keys(error: ValidationError, model: type[BaseModel]) -> list[Key]:
    """Return the places of keys that no setting has."""
    return [_place(model, e["loc"])[0] for e in error.errors() if e["type"] == _UNKNOWN]


def broken_sections(error: ValidationError) -> set[str]:
    """Return the top-level sections in which something is wrong."""
    return {str(e["loc"][0]) for e in error.errors()}


def describe(
    error: ValidationError, model: type[BaseModel], origins: Origins, *, within: Key = ()
) -> list[str]:
    """Return one sentence for each problem: the key, where it was set, what to do.

    The model is that of what stands at the key `within`.

    The value is never quoted, because it may be a secret in the wrong place.
    """
    said: dict[Key, list[str]] = {}
    for each in error.errors(include_url=False, include_input=False):
        inner, siblings = _place(model, each["loc"])
        key = (*within, *inner)
        if each["type"].startswith("union_tag"):
            key = (*key, "kind")
        said.setdefault(key, []).append(_sentence(each, key, siblings))
    return [
        f"{'.'.join(key)}{_given(origins.of(key))}: {', or '.join(dict.fromkeys(sentences))}"
        for key, sentences in said.items()
    ]


def unknown_systems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each route that names no ticket system, whatever else is wrong there."""
    systems, routes = values.get("ticket_systems"), values.get("routes")
    if isinstance(systems, dict) and systems and isinstance(routes, list):
        for index, route in enumerate(routes):
            name = route.get("system") if isinstance(route, dict) else None
            if isinstance(name, str) and name not in systems:
                advice = nearest(name, list(systems))
                yield f"routes.{index}.system: no ticket system is named {name!r}; {advice}"


def nearest(name: str, known: Sequence[str], *, within: Key = ()) -> str:
    """Return the advice that an unknown name gets."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {'.'.join((*within, close[0]))}?"
    return f"known here: {', '.join(sorted(known))}" if known else "nothing is known here"


def _given(origin: str) -> str:
    return "" if origin == "default" else f" ({origin})"


def _sentence(error: ErrorDetails, key: Key, siblings: Sequence[str]) -> str:
    context = error.get("ctx", {})
    if error["type"] == _UNKNOWN:
        return f"unknown key; {nearest(key[-1], siblings, within=key[:-1])}"
    required = f"is required: set it in the settings file or as {variable_of(key)}"
    words = {
        "missing": required,
        "union_tag_not_found": required,
        "union_tag_invalid": f"must be one of {context.get('expected_tags')}",
        "value_error": str(context.get("error")),
        "model_type": _SECTION,
        "dict_type": _SECTION,
        "tuple_type": _LIST,
        "list_type": _LIST,
        "model_attributes_type": _SECTION,
    }
    said = error["msg"].replace("Input should", "must").replace("String should", "must")
    return words.get(error["type"], said)


def _place(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[Key, Sequence[str]]:
    """Return the key that pydantic's location means, and the names that are known beside it.

    A location also names the member of a union that was tried, which nobody wrote.
    """
    key: list[str] = []
    siblings: Sequence[str] = ()
    members = [model]
    for part in loc:
        tagged = [member for member in members if part in _kinds(member)]
        if len(members) > 1 and tagged:
            members = tagged
            continue
        inner = list(_inner(members, part))
        if not inner and not _is_model(members):
            break  # the name of a plain type that was tried
        siblings = [
            name for member in members if _is_model([member]) for name in member.model_fields
        ]
        key.append(str(part))
        members = inner
    return tuple(key), siblings


def _is_model(members: Sequence[Any]) -> bool:
    return any(isinstance(member, type) and issubclass(member, BaseModel) for member in members)


def _kinds(member: Any) -> Sequence[Any]:
    if not _is_model([member]) or "kind" not in member.model_fields:
        return ()
    return get_args(member.model_fields["kind"].annotation)


def _inner(members: Sequence[Any], part: int | str) -> Iterator[Any]:
    for member in members:
        if _is_model([member]):
            if part in member.model_fields:
                yield from _alternatives(member.model_fields[part].annotation)
        elif get_origin(member) is dict:
            yield from _alternatives(get_args(member)[1])
        elif get_origin(member) in {list, tuple} and isinstance(part, int):
            yield from _alternatives(get_args(member)[0])


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation may be, without its decoration."""
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for member in get_args(annotation):
            yield from _alternatives(member)
    elif get_origin(annotation) is not Literal and annotation is not type(None):
        yield annotation
