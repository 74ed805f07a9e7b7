"""A hook call in a file: a whole one, one without `respondToUrl`, or its bare fields."""

from pathlib import Path
from typing import Any

import orjson

from proxy.errors import ConfigurationError


def content_of(file: Path) -> bytes:
    """Return what is in the file; raises ConfigurationError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def fields_of(tree: Any) -> Any:
    """Return the fields: those of a hook call, or the whole tree where it is none."""
    if isinstance(tree, dict) and not {"fields", "respondToUrl"}.isdisjoint(tree):
        return tree.get("fields")
    return tree


def fields_in(file: Path) -> dict[str, Any]:
    """Return the fields of the hook call in a file.

    Raises:
        ConfigurationError: it cannot be read, or holds none.
    """
    try:
        fields = fields_of(orjson.loads(content_of(file)))
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{file} is no hook call: no JSON ({error.msg})") from error
    if not isinstance(fields, dict):
        raise ConfigurationError(f"{file} is no hook call: its fields are no object")
    return fields
