"""Settings files as YAML: without the surprises of YAML 1.1, and with the place of every key.

The words `yes`, `no`, `on` and `off` stay words, as in YAML 1.2 (section 10.3.2), because a status
map is full of them; a date and a number with leading zeros stay text. A key written twice is an
error: the second would silently win.
"""

import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from typing_extensions import override

from proxy.errors import SettingsError

_RESOLVED: Final = (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"(?:null|Null|NULL|~|)$", ("~", "n", "N", "")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"<<$", "<"),
)
_DEEPEST: Final = 100
"""The most levels of nesting that a settings file may have."""


class _DuplicateKeyError(yaml.MarkedYAMLError):
    """A key is written twice in one mapping; the second would silently win."""


class _Loader(yaml.CSafeLoader):
    """A safe loader whose keys are text and unique; PyYAML's own parser is 20 times slower."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's contract

    @override
    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,
    ) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise _DuplicateKeyError(problem=f"{name!r}", problem_mark=key.start_mark)
            seen.add(name)
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep) for key, value in node.value}


for _tag, _pattern, _first in _RESOLVED:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


Key = tuple[str, ...]
"""The path of a setting: `("ticket_systems", "desk", "base_url")`; list items by their index."""


def read_file(path: Path) -> tuple[dict[str, Any], dict[Key, str]]:
    """Return the tree of a settings file, and the place of each key as `file:line:column`.

    An empty section counts as left out.

    Raises:
        SettingsError: the file cannot be read or is not a YAML mapping. The text of the file is
            never quoted, because it may hold secrets.
    """
    location = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        _check_depth(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        tree = _unshared(loader.construct_document(node)) if node else {}
    except OSError as error:
        problem = f"cannot be read ({error.strerror}): check the path and its permissions"
    except UnicodeDecodeError:
        problem = "not UTF-8 text"
    except _DuplicateKeyError as error:
        location = _at(path, error.problem_mark)
        problem = f"the key {error.problem} is written twice in this section: keep one of them"
    except yaml.MarkedYAMLError as error:
        location = _at(path, error.problem_mark)
        problem = (
            "not YAML: look here for wrong indentation, a tab, or a value that needs quotes"
            " (it begins with one of * & ! % @ { [ or holds ': ')"
        )
    except RecursionError:
        problem = "it refers to itself, or is nested too deeply"
    except yaml.YAMLError:
        problem = "not YAML: it holds a character that YAML does not allow"
    else:
        if isinstance(tree, dict):
            places = {(): f"{path}:1:1", **dict(_places(path, node, ()))} if node else {}
            return {name: value for name, value in tree.items() if value is not None}, places
        problem = "no settings: `name: value` lines are expected at its top level"
    raise SettingsError([f"{location}: {problem}"])


def _check_depth(text: str) -> None:
    """Raise RecursionError if sections are nested more deeply than any settings are.

    The loader recurses once per level; the parser, which yields these events, does not.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise RecursionError


def _places(path: Path, node: yaml.Node, key: Key) -> Iterator[tuple[Key, str]]:
    """Yield the place of every key below a node, and of every list item."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield (*key, str(name.value)), _at(path, name.start_mark)
            yield from _places(path, value, (*key, str(name.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*key, str(index)), _at(path, value.start_mark)
            yield from _places(path, value, (*key, str(index)))


def _at(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def _unshared(value: Any) -> Any:
    """Return a copy in which `*alias` is a value of its own, so that one can be overridden."""
    if isinstance(value, dict):
        return {name: _unshared(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_unshared(inner) for inner in value]
    return value
