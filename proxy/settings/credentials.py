"""Digests of all credentials in the settings, by name, so that a change can be noticed."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from proxy.settings.model import Settings
from proxy.settings.neighbours import Client
from proxy.settings.secrets import Secret


def credential_digests(settings: Settings) -> Mapping[str, str]:
    """Return the SHA-256 of each secret and of each client's keys, as they are now.

    Not for any eye but a comparison's: a digest of a short secret can be guessed.
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
