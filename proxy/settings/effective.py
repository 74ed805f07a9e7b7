"""The effective settings: as a table with secrets masked, and digests of all credentials."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel

from proxy.domain.durations import format_duration
from proxy.settings.clients import Client
from proxy.settings.model import Settings
from proxy.settings.secrets import Secret
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


def credential_digests(settings: Settings) -> Mapping[str, str]:
    """Return the SHA-256 of each secret and of each client's keys, by name.

    Compare them to notice changes, and show them to nobody: a short secret can be guessed from its
    digest.
    """
    return dict(_digests(settings, ""))


def _digests(value: Any, name: str) -> Iterator[tuple[str, str]]:
    match value:
        case Secret():
            yield name, hashlib.sha256(value.reveal().encode()).hexdigest()
        case Client():
            hashes = " ".join(key.hash for key in value.keys)
            yield f"{name}.keys", hashlib.sha256(hashes.encode()).hexdigest()
        case BaseModel():
            for field in type(value).model_fields:
                yield from _digests(getattr(value, field), f"{name}.{field}".lstrip("."))
        case Mapping():
            for key, below in value.items():
                yield from _digests(below, f"{name}.{key}")
        case list() | tuple():
            for index, below in enumerate(value):
                yield from _digests(below, f"{name}.{index}")
        case _:
            pass
