"""Files that commands read; a hook call may be whole, without `respondToUrl`, or bare fields."""

from pathlib import Path
from typing import Any

import orjson

from proxy.errors import ConfigurationError


def read_bytes(file: Path) -> bytes:
    """Return the content of a file; raises ConfigurationError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def fields_of(tree: Any) -> Any:
    """Return the fields of a hook call, or the whole tree if it is not a hook call."""
    if isinstance(tree, dict) and not {"fields", "respondToUrl"}.isdisjoint(tree):
        return tree.get("fields")
    return tree


def read_fields(file: Path) -> dict[str, Any]:
    """Return the fields of the hook call in a file.

    Raises:
        ConfigurationError: the file cannot be read, or has no fields.
    """
    try:
        fields = fields_of(orjson.loads(read_bytes(file)))
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{file} is not a hook call: not JSON ({error.msg})") from error
    if not isinstance(fields, dict):
        raise ConfigurationError(f"{file} is not a hook call: its fields are not an object")
    return fields
