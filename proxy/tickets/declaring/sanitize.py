"""Values that come from others, made fit for a JSON body, a text or one part of a URL path."""

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
