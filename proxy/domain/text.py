"""Texts that other people wrote, made safe to show, and times as text: pure."""

import re
import unicodedata
from typing import Final

CUT: Final = " [...]"
"""The mark at the end of a text that was cut."""

_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE_END: Final = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_JOINER: Final = "\u200d"
_SKIN_TONES: Final = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def clean(text: str) -> str:
    """Return the text without control characters and lone surrogates; line ends become newlines.

    Controls that change the direction of what follows are removed too: a text that displays other
    words than it contains deceives the person who decides.
    """
    if text.isprintable():  # nearly always: it has none of them
        return text
    return _UNPRINTABLE.sub("", _LINE_END.sub("\n", text))


def one_line(text: str) -> str:
    """Return the clean text on one line, with single spaces."""
    return " ".join(clean(text).split())


def shorten(text: str, limit: int) -> str:
    """Return the text, cut with a mark if it is longer than the limit.

    Lengths are UTF-16 units, as Java and JavaScript systems count them, so never fewer than the
    characters. A character stays together with the marks and joiners that belong to it.
    """
    if len(text) * 2 <= limit or (len(text) <= limit and text.isascii()):
        return text  # nearly always: nothing to count
    room = limit - len(CUT)
    used = end = 0
    for position, character in enumerate(text, 1):
        used += 2 if character > "\uffff" else 1
        if used <= room:
            end = position
    if used <= limit:
        return text
    while end and (_continues(text[end]) or text[end - 1] == _JOINER):
        end -= 1
    return text[:end].rstrip() + CUT


def _continues(character: str) -> bool:
    marks = unicodedata.category(character).startswith("M")
    return marks or character == _JOINER or character in _SKIN_TONES
