"""Texts as Jira takes them: a typed tree (ADF) in version 3 of its API, wiki markup elsewhere.

What others wrote is text in both and never structure: in the tree it is the value of a text node,
in wiki markup whatever begins a link, a mention, an image, a macro or a cell of a table is escaped.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from proxy.domain.text import CUT, clean, shorten

LONGEST: Final = 32_000
"""Characters of a text; Jira takes 32,767."""

_MARKUP: Final = re.compile(r"\\(?![A-Za-z0-9])|[{}\[\]!|]")
_BACKSLASH: Final = "&#92;"
"""Wiki markup has no other way to write one before a sign; two of them break the line."""

_HALF: Final = re.compile(r"(?:\\|&#?9?2?)$")
_INDENT: Final = re.compile(r"^ +", re.MULTILINE)
_BLANK_LINES: Final = re.compile(r"\n{2,}")


def adf(text: str) -> dict[str, Any]:
    """Return a text as a document of paragraphs, its newlines as hard breaks.

    Atlassian Document Format, version 1. A text node must not be empty.
    """
    paragraphs = _BLANK_LINES.split(_indented(clean(text)).strip("\n"))
    content = [{"type": "paragraph", "content": list(_inline(each))} for each in paragraphs]
    return {"version": 1, "type": "doc", "content": content}


def _inline(paragraph: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(paragraph.split("\n")):
        if number:
            yield {"type": "hardBreak"}
        if line:
            yield {"type": "text", "text": line}


def wiki_value(text: str) -> str:
    """Return somebody else's text for a place in wiki markup."""
    return _MARKUP.sub(lambda it: _BACKSLASH if it[0] == "\\" else f"\\{it[0]}", clean(text))


def wiki(text: str) -> str:
    """Return wiki markup whose lines keep their indentation, and whose end is no link if cut."""
    if text.endswith(CUT):
        text = _HALF.sub("", text.removesuffix(CUT)) + CUT.replace("[", "\\[").replace("]", "\\]")
    return _indented(text)


def wiki_comment(text: str) -> str:
    """Return a text as wiki markup that shows it as it is."""
    return wiki(shorten(wiki_value(text), LONGEST))


def _indented(text: str) -> str:
    """Return the text with spaces before a line that are kept when it is shown as HTML."""
    return _INDENT.sub(lambda spaces: "\u00a0" * len(spaces[0]), text)
