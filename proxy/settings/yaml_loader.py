"""Settings files as YAML, read without the surprises of YAML 1.1 and without showing what they say.

The words `yes`, `no`, `on` and `off` stay words, as in YAML 1.2 (section 10.3.2), because a status
map is full of them; a date and a number with leading zeros stay text. A key written twice is an
error: the second would silently win.
"""

import re
from collections import Counter
from collections.abc import Hashable
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


class _Twice(Exception):  # noqa: N818 - the name of the fact
    """A key is written twice in one mapping."""


class _Loader(yaml.SafeLoader):
    """A safe loader whose keys are text and unique."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's contract

    @override
    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,
    ) -> dict[Hashable, Any]:
        names = Counter(str(key.value) for key, _ in node.value)
        for name, times in names.items():
            if times > 1:
                raise _Twice(f"line {node.start_mark.line + 1} begins a mapping with two {name!r}")
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep) for key, value in node.value}


for _tag, _pattern, _first in _RESOLVED:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def read_file(path: Path) -> dict[str, Any]:
    """Return the tree that a settings file holds; an empty section counts as left out.

    Raises:
        SettingsError: the file cannot be read or is no YAML mapping. The text of the file is
            never quoted, because it may hold secrets.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = _unshared(yaml.load(text, Loader=_Loader))  # noqa: S506 - it is safe
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; check the path and its permissions"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except _Twice as error:
        problem = f"{error}; keep one of them"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = (
            f"is not YAML{place}: look there for wrong indentation, a tab, "
            "or a value that needs quotes (it begins with one of * & ! % @ { [ or holds ': ')"
        )
    except RecursionError:
        problem = "refers to itself, or is nested too deeply"
    except yaml.YAMLError:
        problem = "is not YAML: it holds a character that YAML does not allow"
    else:
        if isinstance(tree, dict):
            return {name: value for name, value in tree.items() if value is not None}
        if tree is None:
            return {}
        problem = "holds no settings: `name: value` lines are expected at its top level"
    raise SettingsError([f"file {path} {problem}"])


def _unshared(value: Any) -> Any:
    """Return a copy in which `*alias` is a value of its own, so that one can be overridden."""
    if isinstance(value, dict):
        return {name: _unshared(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_unshared(inner) for inner in value]
    return value
