"""Conversion of untrusted values for a JSON body, a text or one segment of a URL path."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson
from jinja2 import Undefined

from proxy.domain.text import clean, shorten
from proxy.errors import PermanentError

LONGEST_REFERENCE: Final = 255


def plain(value: Any, text: Callable[[str], str] = clean) -> Any:
    """Return the value in JSON's types, with every text passed through `text`.

    Raises:
        PermanentError: it has no JSON form.
        UndefinedError: it is a name or a key that does not exist.
    """
    match value:
        case str():
            return text(value)
        case None | bool() | int() | float():
            return value
        case list():  # nearly always; checks for abstract classes are much slower
            return [plain(inner, text) for inner in value]
        case Undefined():
            str(value)  # raises with jinja's message about what is missing
        case Mapping():
            return {text(str(key)): plain(inner, text) for key, inner in value.items()}
        case Sequence() | Iterator() if not isinstance(value, bytes):
            return [plain(inner, text) for inner in value]
        case _:
            pass
    raise PermanentError(f"a {type(value).__name__} has no JSON form")


def as_text(value: Any) -> str:
    """Return the value as text: empty for null, JSON for anything but a string."""
    value = plain(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def as_path_part(value: Any) -> str:
    """Return the value percent-encoded, slashes too, so that it cannot leave its path segment.

    Raises:
        PermanentError: it is empty, so the path would be another resource's.
    """
    text = as_text(value)
    if not text:
        raise PermanentError("a value in the path is empty")
    return quote(text, safe="")


def digest(tree: Any) -> str:
    """Return 32 hexadecimal digits that identify a JSON tree."""
    text = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:32]


def scalar_text(value: Any, limit: int) -> str:
    """Return a scalar of a ticket system's answer as clean text; empty for anything else.

    The limit is the longest text that we keep, in UTF-16 units.
    """
    if isinstance(value, str):
        return shorten(clean(value), limit)
    return as_text(value) if isinstance(value, bool | int | float) else ""


def reference(value: Any) -> str:
    """Return an id or key of a ticket unchanged; empty if it cannot be used as one.

    It must be a scalar on one line of at most 255 printable characters: cut or cleaned, it could be
    another ticket's.
    """
    text = value.strip() if isinstance(value, str) else scalar_text(value, LONGEST_REFERENCE)
    return text if text.isprintable() and len(text) <= LONGEST_REFERENCE else ""
