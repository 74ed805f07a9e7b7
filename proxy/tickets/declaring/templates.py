"""Templates for JSON trees and URL paths, in which a value can never become structure.

Values come from other people. Each ends in a JSON value or in one percent-encoded part of a path,
so it cannot add a key, a segment, a parameter or a header. Templates come from the operator; even
so they run in a sandbox, and every name in them is checked when the settings are loaded.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeVar

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.environment import TemplateExpression
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

from proxy.domain.text import clean, shorten
from proxy.errors import PermanentError
from proxy.tickets.declaring.sanitize import as_path_part, as_text, plain

Names = Mapping[str, Any]
"""The names that a template may mention, with the values of one call."""

Value = TypeVar("Value")
Render = Callable[[Names], Value]
"""A compiled template; it raises PermanentError for values that do not fit, as they never will."""

_PATH: Final = re.compile(r"/(?!/)(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, in which `fields.items` is the key `items` and not Python's method."""

    def __init__(self, finalize: Callable[[Any], str]) -> None:
        super().__init__(undefined=StrictUndefined, finalize=finalize, autoescape=False)
        self.written = finalize
        self.globals.clear()

    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


_TEXTS: Final = _Sandbox(as_text)
_PATHS: Final = _Sandbox(as_path_part)


def problems_of(source: str, names: Mapping[str, Collection[str]]) -> list[str]:
    """Return the problems of a template: in its grammar, its filters and the names it mentions.

    `names` maps each name to its attributes, or to nothing if they are not known beforehand.
    """
    try:
        tree = _TEXTS.parse(source)
        mentioned = sorted(meta.find_undeclared_variables(tree))
        _TEXTS.from_string(source)
    except TemplateSyntaxError as error:
        return [f"is not a template: {error.message} (line {error.lineno} of it)"]
    problems = [_unknown(name, names) for name in mentioned if name not in names]
    for node in tree.find_all(nodes.Getattr):
        attributes = names.get(node.node.name, ()) if isinstance(node.node, nodes.Name) else ()
        if attributes and node.attr not in attributes:
            problems.append(_unknown(node.attr, attributes))
    return problems


def _unknown(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"mentions {name!r}, which is not known: did you mean {near[0]!r}?"
    return (
        f"mentions {name!r}, which is not known: there is {', '.join(sorted(names)) or 'no name'}"
    )


def problems_of_path(source: str) -> list[str]:
    """Return the problems of the fixed parts of a path template."""
    try:
        body = _PATHS.parse(source).body
    except TemplateSyntaxError:
        return []  # `problems_of` reports it
    sample = ""
    for node in body:
        if not isinstance(node, nodes.Output):
            return ["may hold {{ }} but not {% %}, which could join text without encoding it"]
        for part in node.nodes:
            sample += part.data if isinstance(part, nodes.TemplateData) else "x"
    if _PATH.fullmatch(sample) and not _has_dot_segments(sample):
        return []
    return ["must begin with one / and hold no ?, #, space or dot segment: it is below base_url"]


def _has_dot_segments(path: str) -> bool:
    return not {".", ".."}.isdisjoint(path.lower().replace("%2e", ".").split("/"))


def mentioned(source: str) -> set[str]:
    """Return the names that a valid template mentions."""
    return meta.find_undeclared_variables(_TEXTS.parse(source))


def mentions(source: str, name: str) -> bool:
    """Return True if a valid template mentions this name."""
    return name in mentioned(source)


def text_template(source: str, where: str) -> Render[str]:
    """Compile a template whose result is text; `where` names it in errors."""
    written = _compiled(_TEXTS, source)
    return _guarded(lambda names: clean(written(names)), where)


def path_template(source: str, where: str) -> Render[str]:
    """Compile a path in which each value is a percent-encoded part of one segment.

    Dot segments are refused, because servers and proxies remove them (RFC 3986 5.2.4).
    """
    written = _compiled(_PATHS, source)

    def render(names: Names) -> str:
        path = written(names)
        if _has_dot_segments(path):
            raise PermanentError("a value makes a dot segment")
        return path

    return _guarded(render, where)


def tree_template(source: Any, where: str, limits: Mapping[str, int]) -> Render[Any]:
    """Compile a JSON tree whose string leaves are templates.

    A leaf that is exactly one `{{ expression }}` keeps the type of its value. `limits` maps the
    paths of leaves, as `texts_of` writes them, to the longest text they may hold.
    """

    def compiled(node: Any, path: str) -> Render[Any]:
        if isinstance(node, Mapping):
            inner = {key: compiled(value, _below(path, key)) for key, value in node.items()}
            return lambda names: {key: render(names) for key, render in inner.items()}
        if isinstance(node, list):
            items = [compiled(value, _below(path, at)) for at, value in enumerate(node)]
            return lambda names: [render(names) for render in items]
        if isinstance(node, str):
            return leaf_template(node, f"{where}.{path}", limits.get(path))
        return lambda _names: node

    return compiled(source, "")


def texts_of(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a JSON tree with its dotted path; members of lists count from 0."""
    if isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from texts_of(inner, _below(path, key))
    elif isinstance(tree, list):
        for at, inner in enumerate(tree):
            yield from texts_of(inner, _below(path, at))
    elif isinstance(tree, str):
        yield path, tree


def tree_problems(tree: Any, path: str, names: Mapping[str, Collection[str]]) -> list[str]:
    """Return the problems of all templates in a JSON tree, each with its dotted path."""
    return [
        f"{leaf} {problem}"
        for leaf, source in texts_of(tree, path)
        for problem in problems_of(source, names)
    ]


def _below(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def leaf_template(source: str, where: str, limit: int | None = None) -> Render[Any]:
    """Compile one text; exactly one `{{ expression }}` keeps the type of its value."""
    match _TEXTS.parse(source).body:
        case [nodes.Output(nodes=[nodes.Name(name=name)])]:
            look = _named(_TEXTS, name)
            evaluate = _guarded(lambda names: plain(look(names)), where)
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            evaluate = _guarded(_expression(expression), where)
        case _:
            evaluate = text_template(source, where)
    if limit is None:
        return evaluate

    def shortened(names: Names) -> Any:
        value = evaluate(names)
        return shorten(value, limit) if isinstance(value, str) else value

    return shortened


def _compiled(sandbox: _Sandbox, source: str) -> Render[str]:
    """Compile a template, without jinja's own code where it only has names between fixed texts."""
    pieces: list[str | Render[Any]] = []
    for node in sandbox.parse(source).body:
        for part in node.nodes if isinstance(node, nodes.Output) else [node]:
            match part:
                case nodes.TemplateData(data=text):
                    pieces.append(text)
                case nodes.Name(name=name):
                    pieces.append(_named(sandbox, name))
                case nodes.Getattr(node=nodes.Name(name=name), attr=attribute):
                    pieces.append(_attribute(sandbox, name, attribute))
                case _:
                    return sandbox.from_string(source).render
    return lambda names: "".join(
        piece if isinstance(piece, str) else sandbox.written(piece(names)) for piece in pieces
    )


def _named(sandbox: _Sandbox, name: str) -> Render[Any]:
    missing = sandbox.undefined(name=name)
    return lambda names: names.get(name, missing)


def _attribute(sandbox: _Sandbox, name: str, attribute: str) -> Render[Any]:
    look = _named(sandbox, name)
    return lambda names: sandbox.getattr(look(names), attribute)


def _expression(expression: nodes.Expr) -> Render[Any]:
    """Compile one expression as jinja's `compile_expression` does, from its parsed form."""
    assignment = nodes.Assign(nodes.Name("result", "store", lineno=1), expression, lineno=1)
    template = _TEXTS.from_string(nodes.Template([assignment], lineno=1))
    evaluate = TemplateExpression(template, undefined_to_none=False)
    return lambda names: plain(evaluate(names))


def _guarded(render: Render[Value], where: str) -> Render[Value]:
    """Translate the errors of a template; messages that could quote a value are left out."""

    def guarded(names: Names) -> Value:
        try:
            return render(names)
        except (PermanentError, UndefinedError) as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            problem = type(error).__name__
        raise PermanentError(f"{where} cannot be written for this request: {problem}")

    return guarded
