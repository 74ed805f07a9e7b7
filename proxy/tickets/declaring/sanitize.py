"""Values that come from others, made fit for a JSON body, a text or one part of a URL path."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson
from jinja2 import Undefined

from proxy.errors import PermanentError

CUT: Final = " [...]"
LONGEST_REFERENCE: Final = 255
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE_END: Final = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_JOINER: Final = "\u200d"
_SKIN_TONES: Final = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def clean(text: str) -> str:
    """Return the text without control characters and lone surrogates; line ends become newlines.

    Controls that turn the direction of what follows count among them: a text that shows other
    words than it holds deceives whoever decides.
    """
    if text.isprintable():  # nearly always: it holds none of them
        return text
    return _UNPRINTABLE.sub("", _LINE_END.sub("\n", text))


def shorten(text: str, limit: int) -> str:
    """Return the text, cut visibly if it is longer than the limit.

    Lengths are UTF-16 units, as Java and JavaScript systems count them, so never fewer than the
    characters. A character is not parted from the marks and joiners that belong to it.
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


def plain(value: Any, text: Callable[[str], str] = clean) -> Any:
    """Return the value in JSON's types, its texts clean, or as `text` makes them.

    Raises:
        PermanentError: it has no JSON form.
        UndefinedError: it is a name or a key that does not exist.
    """
    match value:
        case str():
            return text(value)
        case None | bool() | int() | float():
            return value
        case list():  # as nearly always: abstract classes are much slower to ask for
            return [plain(inner, text) for inner in value]
        case Undefined():
            str(value)  # raises, with jinja's own words about what is missing
        case Mapping():
            return {text(str(key)): plain(inner, text) for key, inner in value.items()}
        case Sequence() | Iterator() if not isinstance(value, bytes):
            return [plain(inner, text) for inner in value]
        case _:
            pass
    raise PermanentError(f"a {type(value).__name__} has no JSON form")


def as_text(value: Any) -> str:
    """Return what stands in a text: nothing for null, JSON for whatever is no string."""
    value = plain(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def as_path_part(value: Any) -> str:
    """Return the value percent-encoded, slashes too, so that it cannot leave its path segment.

    Raises:
        PermanentError: it is empty, so the path would be that of something else.
    """
    text = as_text(value)
    if not text:
        raise PermanentError("a value in the path is empty")
    return quote(text, safe="")


def digest(tree: Any) -> str:
    """Return 32 hexadecimal digits that differ wherever a JSON tree differs."""
    text = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:32]


def scalar_text(value: Any, limit: int) -> str:
    """Return a scalar that a ticket system answered as clean text; empty for anything else.

    The limit bounds, in UTF-16 units, what we keep of a text that others choose.
    """
    if isinstance(value, str):
        return shorten(clean(value), limit)
    return as_text(value) if isinstance(value, bool | int | float) else ""


def reference(value: Any) -> str:
    """Return an id or key of a ticket as it is; empty where it is none that leads back to it.

    It is a scalar on one line, of at most 255 characters that can be seen: cut or cleaned, it would
    be that of another ticket.
    """
    text = value.strip() if isinstance(value, str) else scalar_text(value, LONGEST_REFERENCE)
    return text if text.isprintable() and len(text) <= LONGEST_REFERENCE else ""


def rfc3339(milliseconds: int) -> str:
    """Return a moment since the epoch as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(milliseconds // 1_000, UTC).isoformat().replace("+00:00", "Z")
