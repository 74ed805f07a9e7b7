"""The effective settings as a table: each value, masked where it is secret, and its origin."""

import re
from typing import Any, Final

import orjson

from proxy.domain.durations import format_duration
from proxy.settings.model import Settings
from proxy.settings.sources import leaves

_FROZEN: Final = re.compile(r"[0-9]+ms")


def explain(settings: Settings) -> list[tuple[str, str, str]]:
    """Return key, shown value and origin of every setting, in the order of the tree."""
    return [
        (".".join(key), _display(value), settings.origins.of(key))
        for key, value in leaves(settings.model_dump(mode="json"))
    ]


def _display(value: Any) -> str:
    if isinstance(value, str) and _FROZEN.fullmatch(value):
        return format_duration(int(value.removesuffix("ms")))
    if isinstance(value, str) and value and value.isprintable():
        return value
    return orjson.dumps(value).decode()
