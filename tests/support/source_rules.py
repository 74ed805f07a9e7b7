"""The rules for names, prose and sizes, as functions from a source text to its violations."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import Final

PHRASES: Final = (
    "as good as",
    "beside",
    r"(?<!there )is no (?!longer)",
    "of now",
    "sees to",
    "so many a",
    "told",
    "whoever",
)
"""Patterns of phrases that a reader has to read twice; each has a plain English form."""

IDENTIFIERS: Final = frozenset(
    [
        *("asked", "beside", "each", "found", "given", "it", "known", "place"),
        *("said", "says", "shown", "told", "wanted", "words"),
    ]
)
"""Names that say nothing about their value; call it by the field's term."""

QUESTIONS: Final = ("What", "Where", "Whether", "Which", "Who", "Whoever")
"""A docstring that begins so is a riddle: begin with the term, or with `Return`."""

STORED_AND_PUBLIC: Final = frozenset({"Told", "ticket_untold", "untold"})
"""Stored and public names, which never change: event codes, alarm codes, record fields."""

LONGEST_FUNCTION: Final = 40
LONGEST_MODULE: Final = 300


def bad_docstrings(source: str) -> Iterator[str]:
    """Yield docstrings that begin with a question word."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if text.split(" ", 1)[0].rstrip(",:") in QUESTIONS:
                yield f"docstring begins with a question word: {text.splitlines()[0]}"


def bad_identifiers(source: str) -> Iterator[str]:
    """Yield names that are bound in the source and say nothing."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                pass
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                pass
            case ast.AsyncFunctionDef(name=name):
                pass
            case _:
                continue
        plain = name.strip("_").lower()
        if plain in IDENTIFIERS or plain.startswith("mind_"):
            yield f"line {node.lineno}: {name}"


def bad_phrases(text: str) -> Iterator[str]:
    """Yield banned phrases in a text, stored and public names left alone."""
    for name in STORED_AND_PUBLIC:
        text = re.sub(rf"(?<![\w-]){name}(?![\w-])", "", text)
    for phrase in PHRASES:
        for match in re.finditer(rf"\b{phrase}\b", text, re.IGNORECASE):
            context = text[max(0, match.start() - 30) : match.end() + 30]
            yield f"{phrase!r} in ...{context!r}..."


def prose_of(source: str) -> Iterator[str]:
    """Yield every string and comment of a Python source."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in {tokenize.STRING, tokenize.COMMENT}:
            yield token.string


def too_long(source: str) -> Iterator[str]:
    """Yield functions and a module that are longer than the limits."""
    lines = source.count("\n")
    if lines > LONGEST_MODULE:
        yield f"{lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{node.name}: {length} lines"
