"""JMESPath: where in somebody else's JSON a value is found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator

_DEEPER: Final = frozenset(
    {
        "filter_projection",
        "flatten",
        "index_expression",
        "pipe",
        "projection",
        "slice",
        "subexpression",
        "value_projection",
    }
)


def _compiles(expression: str) -> str:
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{expression!r} is no JMESPath expression: {reason}") from error
    return expression


Expression = Annotated[str, AfterValidator(_compiles)]
"""A pydantic field that holds a JMESPath expression, checked when it is read."""


def roots(expression: str) -> set[str]:
    """Return the names that a sound expression looks up in the tree itself, not deeper in it."""
    return set(_roots(jmespath.compile(expression).parsed))


def _roots(node: Mapping[str, Any]) -> Iterator[str]:
    if node["type"] == "field":
        yield node["value"]
    # what is behind a dot, a pipe or in a projection looks at what came before it, not at the root
    deeper = node["type"] in _DEEPER
    for child in node["children"][: 1 if deeper else None]:
        yield from _roots(child)


def looked_up_paths(expression: str) -> list[tuple[str, ...]]:
    """Return what a sound expression looks up from the root: for `a.b == c`, `a.b` and `c`."""
    return list(dict.fromkeys(_places(jmespath.compile(expression).parsed)))


def _places(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if node["type"] == "field":
        yield (node["value"],)
        return
    if node["type"] == "subexpression":
        first, *below = node["children"]
        yield from ((*place, *_below(below)) for place in _places(first))
        return
    for child in node["children"][: 1 if node["type"] in _DEEPER else None]:
        yield from _places(child)


def _below(nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of a path, as far as it is one of names."""
    for node in nodes:
        yield from next(_places(node), ())
        if node["type"] != "field":
            return


def compile_path(expression: str) -> Callable[[Any], Any]:
    """Return what looks an expression up in a tree; None where it finds nothing.

    A function that meets the wrong type finds nothing either: the tree is not the one expected.
    """
    if expression.isidentifier():  # most are a plain name, which needs no interpreter
        return lambda tree: tree.get(expression) if isinstance(tree, dict) else None
    compiled = jmespath.compile(expression)

    def find(tree: Any) -> Any:
        try:
            return compiled.search(tree)
        except JMESPathError:
            return None

    return find
