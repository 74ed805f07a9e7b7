"""JMESPath: where in somebody else's JSON a value is found."""

from collections.abc import Callable, Iterator, Mapping
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


def finder(expression: str) -> Callable[[Any], Any]:
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
