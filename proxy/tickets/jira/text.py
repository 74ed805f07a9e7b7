"""Jira text: documents (ADF) for version 3 of the API, and wiki markup for everything else.

Text of other people never becomes structure: in a document it is the value of a text node, and in
wiki markup every character that begins a link, a mention, an image, a macro or a cell is escaped.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from proxy.domain.text import CUT, clean, shorten

LONGEST: Final = 32_000
"""Characters of a text; Jira accepts 32,767."""

_MARKUP: Final = re.compile(r"\\(?![A-Za-z0-9])|[{}\[\]!|]")
_BACKSLASH: Final = "&#92;"
"""Wiki markup has no other way to write a backslash before a sign; two of them break the line."""

_HALF: Final = re.compile(r"(?:\\|&#?9?2?)$")
_INDENT: Final = re.compile(r"^ +", re.MULTILINE)
_BLANK_LINES: Final = re.compile(r"\n{2,}")


def adf(text: str) -> dict[str, Any]:
    """Return a text as a document of paragraphs, with its newlines as hard breaks.

    The format is Atlassian Document Format, version 1. A text node must not be empty.
    """
    paragraphs = _BLANK_LINES.split(_indented(clean(text)).strip("\n"))
    content = [
        {"type": "paragraph", "content": list(_inline(paragraph))} for paragraph in paragraphs
    ]
    return {"version": 1, "type": "doc", "content": content}


def _inline(paragraph: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(paragraph.split("\n")):
        if number:
            yield {"type": "hardBreak"}
        if line:
            yield {"type": "text", "text": line}


def wiki_value(text: str) -> str:
    """Return an untrusted text, escaped for wiki markup."""
    return _MARKUP.sub(
        lambda match: _BACKSLASH if match[0] == "\\" else f"\\{match[0]}", clean(text)
    )


def wiki(text: str) -> str:
    """Return wiki markup that keeps its indentation, and has no broken escape where it was cut."""
    if text.endswith(CUT):
        text = _HALF.sub("", text.removesuffix(CUT)) + CUT.replace("[", "\\[").replace("]", "\\]")
    return _indented(text)


def wiki_comment(text: str) -> str:
    """Return an untrusted text as wiki markup, shortened to Jira's limit."""
    return wiki(shorten(wiki_value(text), LONGEST))


def _indented(text: str) -> str:
    """Return the text with the spaces before its lines made non-breaking, for HTML."""
    return _INDENT.sub(lambda spaces: "\u00a0" * len(spaces[0]), text)
