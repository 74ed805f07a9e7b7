"""The types of values in settings, other than durations and secrets."""

import re
from collections.abc import Sized
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
)

from proxy.domain.durations import Milliseconds
from proxy.net.addresses import openable, read_networks
from proxy.net.urls import CallbackPrefix
from proxy.settings.error_text import Hidden
from proxy.settings.sources import current_sources

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEY_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, and nothing changes after reading.

    The lines under the fields explain the settings; pydantic does not read them
    (`use_attribute_docstrings`), because that takes 0.1 s at each start.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )


def _positive(duration: int) -> int:
    if duration <= 0:
        raise ValueError("must be longer than 0")
    return duration


def _is_file(path: Path) -> Path:
    """Refuse a path that is not a file; without secrets, the file need not exist."""
    sources = current_sources.get(None)
    if not path.is_file() and (sources is None or sources.secrets):
        raise ValueError("not a file: create it, or name another")
    return path


def _web_url(text: str) -> str:
    """Return an absolute URL without its last slash, so that paths can be appended."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            "not a web address (expected https://host or https://host/path,"
            " without user, password, query and fragment)"
        ) from None
    return text.rstrip("/")


def _issuer(text: str) -> str:
    _web_url(text)
    return text


def _callback_url(text: str) -> str:
    """Refuse a text that is not an origin with a path prefix, without quoting a password."""
    _web_url(text)
    CallbackPrefix.parse(text)
    return text


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    read_networks(texts)
    return texts


def _openable(texts: tuple[str, ...]) -> tuple[str, ...]:
    openable(read_networks(texts))
    return texts


def _key_hash(text: str) -> str:
    if not _KEY_HASH.fullmatch(text):
        raise ValueError(
            "not the hash of a key: `approval-proxy keys new` makes a key and prints the line"
            " (sha256: and 64 hex digits) that belongs here; the key itself belongs to the client"
        )
    return text


def _not_empty(several: Sized) -> Sized:
    if not several:
        raise ValueError("empty: at least one is required")
    return several


def _off_as_word(value: Any) -> Any:
    """Return the word `off` also where a YAML 1.1 tool has made it `false`."""
    return "off" if value is False else value


ReadableFile = Annotated[Path, AfterValidator(_is_file)]
"""A file with certificates, or with the key of one."""

Duration = Annotated[Milliseconds, AfterValidator(_positive)]
"""A duration longer than 0, in milliseconds."""

Size = Annotated[ByteSize, PlainSerializer(ByteSize.human_readable, when_used="json")]
"""A number of bytes, written as `256KiB` or plain."""

WebUrl = Annotated[str, AfterValidator(_web_url)]
"""An http or https URL, kept without its last slash."""

Issuer = Annotated[str, AfterValidator(_issuer)]
"""An issuer as it writes itself, its last slash included: it is compared as a text."""

CallbackUrl = Annotated[str, AfterValidator(_callback_url)]
"""An origin and path prefix under which a witboost instance may be called back."""

Networks = Annotated[tuple[str, ...], AfterValidator(_networks)]
"""Networks or single addresses: `10.0.0.0/8`, or `private` for those of RFC 1918 and RFC 4193."""

OpenedNetworks = Annotated[tuple[str, ...], AfterValidator(_openable)]
"""Networks that may be called although they are not public: `10.0.0.0/8`, or `private`."""

KeyHash = Annotated[str, Hidden, AfterValidator(_key_hash)]
"""`sha256:<hex>` of an API key."""


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("not a name (expected at most 64 letters, digits, '_', '.' and '-')")
    return text


Name = Annotated[str, AfterValidator(_name)]
"""The name of an instance, a system or a client: it becomes a part of keys in the store."""

UrlPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._~/-]*$")]
"""A path of our own HTTP API."""

Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A text that may not be empty."""

NotEmpty = AfterValidator(_not_empty)
"""Requires at least one item; silent where an item is wrong, because that is to be repaired."""

WordOff = BeforeValidator(_off_as_word)
"""Accepts `false` for the word `off`, as YAML 1.1 tools write it."""
