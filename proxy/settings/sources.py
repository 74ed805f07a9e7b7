"""The sources of settings: one file, overridden by the environment; each value keeps its origin.

pydantic-settings reads an environment variable by the shape of its model alone. Here it is laid
over the file, because the key of a map (`desk` in `ticket_systems`) and an index of a list exist
only there, and because an error must name the one of the two that a value came from.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.settings.yaml_loader import Key, read_file

PREFIX: Final = "APPROVAL_PROXY__"
CONFIG: Final = "APPROVAL_PROXY_CONFIG"
OPERATOR_URL: Final = "APPROVAL_PROXY_URL"
OPERATOR_KEY: Final = "APPROVAL_PROXY_KEY"
_NO_SETTINGS: Final = frozenset({CONFIG, OPERATOR_URL, OPERATOR_KEY})

# Variables that Kubernetes sets in every pod for a Service named `approval-proxy` or
# `approval-proxy-...` (documentation, "Accessing the Service", environment variables).
_SERVICE_LINK: Final = re.compile(r".*_(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP).*)?)")


@dataclass
class Origins:
    """The source of each value; a value without one is a default."""

    sources: dict[Key, str] = field(default_factory=dict)
    """`file NAME` or `environment VARIABLE`, for each innermost value."""
    places: dict[Key, str] = field(default_factory=dict)
    """`file:line:column` of each key that was read from the file."""

    def add(self, key: Key, value: Any, origin: str) -> None:
        """Store the origin of a value and all within it, in place of what it replaces."""
        self.sources = {old: kept for old, kept in self.sources.items() if old[: len(key)] != key}
        self.places = {old: kept for old, kept in self.places.items() if old[: len(key)] != key}
        self.sources |= {key + inner: origin for inner, _ in leaves(value)}

    def of(self, key: Key) -> str:
        """Return the origin of a value, also of one that was read from or into several parts."""
        outer = [key[:length] for length in range(len(key), 0, -1)]
        inner = [inner for inner in self.sources if inner[: len(key)] == key]
        origins = [self.sources[name] for name in outer + inner if name in self.sources]
        if not origins and key[-1].isdecimal():  # a single value, which was read as a list of one
            return self.of(key[:-1])
        return origins[0] if origins else "default"

    def location(self, key: Key) -> str:
        """Return where a key is written, or where the nearest section around it is.

        That is `file:line:column`, `environment VARIABLE`, or an empty text if there is neither.
        """
        around = (key[:length] for length in range(len(key), 0, -1))
        return next(filter(None, map(self.written_at, around)), self.places.get((), ""))

    def written_at(self, key: Key) -> str:
        """Return where a key itself is written; empty if it is not."""
        inner = (origin for name, origin in self.sources.items() if name[: len(key)] == key)
        return self.places.get(key) or next(inner, "")


@dataclass(frozen=True)
class Sources:
    """All that was given, before anybody asked whether it makes sense.

    Without `secrets`, masks take their place.
    """

    values: dict[str, Any] = field(repr=False)
    origins: Origins
    environ: Mapping[str, str] = field(repr=False)
    problems: Sequence[str]
    secrets: bool = True


# pydantic-settings builds its sources inside the constructor of the settings and passes validators
# no context of ours, so both find the sources here.
current_sources: Final[ContextVar[Sources]] = ContextVar("READING")


def gather(config: Path | None, environ: Mapping[str, str], *, secrets: bool = True) -> Sources:
    """Return the file's tree with the environment laid over it.

    A JSON object or list in a variable replaces what the file says under that key; variables of
    deeper keys are laid over it in turn.

    Raises:
        SettingsError: the file cannot be used.
    """
    values, places = read_file(config) if config else ({}, {})
    origins = Origins()
    origins.add((), values, f"file {config}")
    origins.places = places
    problems: list[str] = []
    for variable in sorted(environ, key=lambda name: (name.count("__"), name)):
        if variable.upper().startswith(PREFIX):
            names = variable[len(PREFIX) :].split("__")
            value = _parsed(environ[variable])
            try:
                origins.add(_put(values, names, value), value, f"environment {variable}")
            except ValueError as error:
                problems.append(f"environment {variable}: {error}")
    referred = [value for key, value in leaves(values) if key[-1:] == ("env",)]
    problems += [_stray(name) for name in environ if _is_stray(name) and name not in referred]
    return Sources(values, origins, environ, problems, secrets)


def leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield each innermost value of a tree with its key; an empty container is a value."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*key, name))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*key, str(index)))
    else:
        yield key, value


def variable_of(key: Key) -> str:
    """Return the environment variable that sets a key."""
    return PREFIX + "__".join(key).upper().replace("-", "_")


def _parsed(text: str) -> Any:
    if text == "null" or text.startswith(("{", "[")):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text  # a template such as `{{ resource }}`, or a secret
    return text


def _put(tree: Any, names: Sequence[str], value: Any) -> Key:
    """Set one value inside a tree, and return its key as the tree spells it."""
    key: list[str] = []
    for name in names[:-1]:
        index = _index(tree, name)
        key.append(str(index))
        if isinstance(tree, list) and index == len(tree):
            tree.append({})
        elif not isinstance(tree, list) and not isinstance(tree.get(index), dict | list):
            tree[index] = {}
        tree = tree[index]
    index = _index(tree, names[-1])
    if isinstance(tree, list):
        tree[index : index + 1] = [value]
    else:
        tree[index] = value
    return (*key, str(index))


def _index(tree: Any, name: str) -> Any:
    """Return the index or the key that a part of a variable's name means here.

    Variables are written in capitals and without dashes: a key that exists keeps its spelling.
    """
    if isinstance(tree, list):
        if name.isdecimal() and int(name) <= len(tree):
            return int(name)
        raise ValueError(
            f"{name[:40]!r} is not an index of this list of {len(tree)}: "
            f"write 0 to {len(tree)}, or set the whole list as JSON"
        )
    folded = name.lower().replace("-", "_")
    same = [key for key in tree if key.lower().replace("-", "_") == folded]
    return same[0] if same else name.lower()


def _is_stray(variable: str) -> bool:
    name = variable.upper()
    ours = name.startswith(PREFIX.rstrip("_") + "_") and not name.startswith(PREFIX)
    return ours and name not in _NO_SETTINGS and not _SERVICE_LINK.fullmatch(name)


def _stray(variable: str) -> str:
    return (
        f"environment {variable}: unknown; settings begin with {PREFIX} and have two underscores "
        f"between their parts ({PREFIX}STORE__FOLDER), and {CONFIG} names the settings file"
    )
