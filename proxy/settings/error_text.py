"""Error messages for settings: the place, the key, what was found and what is expected."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.sources import Origins, variable_of
from proxy.settings.yaml_loader import Key

_UNKNOWN: Final = "extra_forbidden"
_SECTION: Final = "must be a section of `name: value` lines, or in the environment JSON"
_LIST: Final = "must be a list, [one, two]"
_NO_VALUE: Final = {_UNKNOWN, "missing", "union_tag_not_found"}
_PASSWORD: Final = re.compile(r"//[^/]*@")
_KEY_IN_TEXT: Final = re.compile(r"\b[a-z_]+(?:\.[A-Za-z0-9_-]+)+")
_LONGEST_SHOWN: Final = 80


class Hidden:
    """Marks, in `Annotated`, a text that is never shown: it may be a secret in the wrong place."""


def unknown_keys(error: ValidationError, model: type[BaseModel]) -> list[Key]:
    """Return the keys that no setting has."""
    return [_locate(model, e["loc"])[0] for e in error.errors() if e["type"] == _UNKNOWN]


def broken_sections(error: ValidationError) -> set[str]:
    """Return the top-level sections in which something is wrong."""
    return {str(e["loc"][0]) for e in error.errors()}


class Problem(NamedTuple):
    """One thing that is wrong: the key that it is about, and a sentence."""

    key: Key
    text: str
    others: tuple[Key, ...] = ()
    """The other keys that a contradiction is about."""

    @classmethod
    def parse(cls, sentence: str) -> Self:
        """Return the contradiction of a sentence that begins with its key and a colon."""
        key, _, text = sentence.partition(": ")
        names = dict.fromkeys(_KEY_IN_TEXT.findall(text))
        return cls(_split(key), text, tuple(_split(name) for name in names if name != key))

    def located(self, origins: Origins) -> str:
        """Return the sentence behind its place and key; the places of other keys come last."""
        where = origins.location(self.key)
        others = [
            f"{'.'.join(key)} is set at {written}"
            for key in self.others
            if (written := origins.written_at(key))
        ]
        also = f" ({'; '.join(others)})" if others else ""
        return f"{where}{': ' if where else ''}{'.'.join(self.key)}: {self.text}{also}"


def _split(name: str) -> Key:
    return tuple(name.split("."))


def describe(
    error: ValidationError, model: type[BaseModel], values: Any, *, within: Key = ()
) -> list[Problem]:
    """Return each problem with its key: what was found there, and what is expected.

    The model is that of the tree at the key `within`, and `values` is that tree as it was given.
    A value is shown only where a number or a plain text is expected; see `_with_value`.
    """
    problems: dict[Key, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        inner, siblings, secret = _locate(model, detail["loc"])
        if detail["type"].startswith("union_tag"):
            inner = (*inner, "kind")
        key = (*within, *inner)
        sentence = _sentence(detail, key, siblings)
        if detail["type"] not in _NO_VALUE and (value := _value_at(values, inner)) is not None:
            sentence = _with_value(value, sentence, secret=secret)
        problems.setdefault(key, []).append(sentence)
    return [
        Problem(key, ", or ".join(dict.fromkeys(sentences))) for key, sentences in problems.items()
    ]


def _value_at(values: Any, key: Key) -> Any:
    """Return the value that was given for a key; None if there is none."""
    for name in key:
        if isinstance(values, Mapping):
            values = values.get(name)
        elif isinstance(values, list) and name.isdecimal() and int(name) < len(values):
            values = values[int(name)]
        else:
            return None
    return values


def _with_value(value: Any, sentence: str, *, secret: bool) -> str:
    """Return the sentence with the value in front of it, if that may be shown.

    A secret is shown by its length alone, and a text never where a section or a list is expected:
    it may be a secret in the wrong place. A password in a URL is masked.
    """
    match value:
        case Mapping() | list() if not sentence.startswith("must be "):
            return sentence  # about the keys of a section, or the items of a list
        case Mapping():
            return f"found a section, {sentence}"
        case list():
            return f"found a list, {sentence}"
        case str() if secret:
            return f"found a secret of {len(value)} characters, {sentence}"
        case str() if sentence in {_SECTION, _LIST}:
            return f"found a text, {sentence}"
        case str():
            text = repr(_PASSWORD.sub("//********@", value))
            short = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...'"
            return sentence if text in sentence else f"found {short}, {sentence}"
        case bool():
            return f"found {str(value).lower()}, {sentence}"
        case _:
            return sentence if f"'{value}'" in sentence else f"found {value}, {sentence}"


def unknown_systems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each route whose ticket system does not exist."""
    systems, routes = values.get("ticket_systems"), values.get("routes")
    if isinstance(systems, dict) and systems and isinstance(routes, list):
        for index, route in enumerate(routes):
            name = route.get("system") if isinstance(route, dict) else None
            if isinstance(name, str) and name not in systems:
                advice = nearest(name, list(systems))
                text = f"no ticket system is named {name!r}; {advice}"
                yield Problem(("routes", str(index), "system"), text)


def nearest(name: str, names: Sequence[str], *, within: Key = ()) -> str:
    """Return the advice that an unknown name gets."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {'.'.join((*within, close[0]))}?"
    return f"known here: {', '.join(sorted(names))}" if names else "nothing is known here"


def _sentence(error: ErrorDetails, key: Key, siblings: Sequence[str]) -> str:
    context = error.get("ctx", {})
    if error["type"] == _UNKNOWN:
        return f"unknown key; {nearest(key[-1], siblings, within=key[:-1])}"
    missing = f"missing; set it in the settings file or as {variable_of(key)}"
    sentences = {
        "missing": missing,
        "union_tag_not_found": missing,
        "union_tag_invalid": f"must be one of {context.get('expected_tags')}",
        "value_error": str(context.get("error")),
        "model_type": _SECTION,
        "dict_type": _SECTION,
        "tuple_type": _LIST,
        "list_type": _LIST,
        "model_attributes_type": _SECTION,
    }
    text = error["msg"].replace("Input should", "must").replace("String should", "must")
    return sentences.get(error["type"], text)


def _locate(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[Key, Sequence[str], bool]:
    """Return the key of pydantic's location, the names of its section, and if its value is secret.

    A location also names the member of a union that was tried, which nobody wrote.
    """
    key: list[str] = []
    siblings: Sequence[str] = ()
    members: list[Any] = [model]
    for part in loc:
        if part == "[key]":  # the problem is the key itself, which was named before
            break
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
    return tuple(key), siblings, any(map(_is_secret, members))


def _is_secret(member: Any) -> bool:
    """Return True for a type whose values are never shown, and for a collection of such."""
    if isinstance(member, type) and issubclass(member, SecretStr):
        return True
    return member is Hidden or any(_is_secret(inner) for inner in get_args(member))


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
        plain, *marks = get_args(annotation)
        if Hidden in marks:
            yield Hidden
        yield from _alternatives(plain)
    elif get_origin(annotation) in {Union, UnionType}:
        for member in get_args(annotation):
            yield from _alternatives(member)
    elif get_origin(annotation) is not Literal and annotation is not type(None):
        yield annotation
