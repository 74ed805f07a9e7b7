"""Texts as Jira takes them: a typed tree (ADF) in version 3 of its API, wiki markup elsewhere.

What others wrote is text in both and never structure: in the tree it is the value of a text node,
in wiki markup whatever begins a link, a mention, an image, a macro or a cell of a table is escaped.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from proxy.tickets.values import CUT, clean, shorten

LONGEST_COMMENT: Final = 16_000
"""Characters; Jira takes 32,767, and a text of nothing but markup doubles when it is escaped."""

_MARKUP: Final = re.compile(r"[\\{}\[\]!|]")
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
    return _MARKUP.sub(r"\\\g<0>", clean(text))


def wiki(text: str) -> str:
    """Return wiki markup whose lines keep their indentation and whose end is no link."""
    if text.endswith(CUT):
        text = f"{text.removesuffix(CUT).rstrip(chr(92))} \\[...\\]"
    return _indented(text)


def wiki_comment(text: str) -> str:
    """Return a text as wiki markup that shows it as it is."""
    return _indented(wiki_value(shorten(text, LONGEST_COMMENT)))


def one_line(text: str) -> str:
    """Return the text on one line: Jira refuses a summary with line breaks."""
    return " ".join(text.split())


def _indented(text: str) -> str:
    """Return the text with spaces before a line that are kept when it is shown as HTML."""
    return _INDENT.sub(lambda spaces: "\u00a0" * len(spaces[0]), text)
