"""JMESPath expressions, which find values in the JSON of other systems."""

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
        raise ValueError(f"{expression!r} is not a JMESPath expression: {reason}") from error
    return expression


Expression = Annotated[str, AfterValidator(_compiles)]
"""A pydantic field for a JMESPath expression, which is checked when the settings are read."""


def roots(expression: str) -> set[str]:
    """Return the names that a valid expression looks up at the root of the tree."""
    return {first for first, *_ in looked_up_paths(expression)}


def looked_up_paths(expression: str) -> list[tuple[str, ...]]:
    """Return the paths that a valid expression looks up at the root: `a.b`, `c` for `a.b == c`."""
    return list(dict.fromkeys(_paths(jmespath.compile(expression).parsed)))


def _paths(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if node["type"] == "field":
        yield (node["value"],)
        return
    if node["type"] == "subexpression":
        first, *below = node["children"]
        yield from ((*path, *_below(below)) for path in _paths(first))
        return
    # what is behind a dot, a pipe or in a projection looks at what came before it, not at the root
    for child in node["children"][: 1 if node["type"] in _DEEPER else None]:
        yield from _paths(child)


def _below(nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of a path, up to the first node that is not a name."""
    for node in nodes:
        yield from next(_paths(node), ())
        if node["type"] != "field":
            return


def compile_path(expression: str) -> Callable[[Any], Any]:
    """Return a function that evaluates the expression on a tree, with None for no result.

    A JMESPath function with an argument of the wrong type gives None too: the tree is not the
    expected one.
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
