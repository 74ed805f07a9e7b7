"""Secrets: written where the settings are, or kept in a file or a variable; never shown."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from proxy.security.watched_files import WatchedFiles
from proxy.settings.sources import _current_sources

_log: Final = logging.getLogger(__name__)

MASK: Final = "********"
_LONGEST: Final = 65_536
_VERIFYING: Final = frozenset({"ssl_cert_reqs", "ssl_check_hostname"})
_SHAPE: Final = "write the secret as quoted text, {file: /run/secrets/name} or {env: NAME}"


class Secret(SecretStr):
    """A value that only `reveal` shows; `source` says where it is kept, for whoever renews it.

    One that is not `known` was not read: a mask is in its place, whose form says nothing.
    """

    def __init__(
        self, value: str, source: str = "", file: WatchedFiles | None = None, *, known: bool = True
    ) -> None:
        super().__init__(value)
        self.source = source
        self.known = known
        self._file = file

    def reveal(self) -> str:
        """Return the secret itself: for the one call that sends it, never for a message.

        A file that was changed is read again; what cannot be used leaves the former value.
        """
        if self._file is not None and self._file.changed():
            try:
                text = _content(self._file.paths[0])
                self._secret_value = self._sound(text, self.source)
            except ValueError as error:
                _log.warning("A changed secret cannot be used, the former one stays: %s", error)
            else:
                _log.info("The secret in %s was read again", self.source)
        return self.get_secret_value()

    @property
    def masked(self) -> str:
        """What may be shown of it."""
        return self._beside_source(MASK)

    def _beside_source(self, shown: str) -> str:
        return f"{shown} (from {self.source})" if self.source else shown

    @classmethod
    @override
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda secret: secret.masked, when_used="json"
            ),
        )

    @classmethod
    def _read(cls, given: object) -> Self:
        if isinstance(given, cls):
            return given
        if _kept_back():
            return cls(MASK, known=False)
        file = None
        if isinstance(given, str):
            text, source = given, ""
        elif isinstance(given, Mapping) and set(given) == {"file"}:
            path = _path(given["file"])
            file = WatchedFiles(path)
            text, source = _content(path), f"file {path}"
        elif isinstance(given, Mapping) and set(given) == {"env"}:
            text, source = _variable(given["env"]), f"environment {given['env']}"
        else:
            raise ValueError(f"is no secret: {_SHAPE}")
        return cls(cls._sound(text, source), source, file)

    @classmethod
    def _sound(cls, text: str, source: str) -> str:
        if not text.strip():
            raise ValueError(f"{source or 'the value'} is empty: {_SHAPE}")
        cls._check(text)
        return text

    @classmethod
    def _check(cls, text: str) -> None:
        """Refuse a text that cannot be used, without quoting it."""


class SecretUrl(Secret):
    """The URL of a Redis server, which may hold a password; the rest of it may be shown."""

    @property
    @override
    def masked(self) -> str:
        parts = urlsplit(self.reveal())
        place = parts.netloc.rpartition("@")[2]
        user = f"{MASK}@" if "@" in parts.netloc else ""
        query = f"?{MASK}" if parts.query else ""
        return self._beside_source(f"{parts.scheme}://{user}{place}{parts.path}{query}")

    @classmethod
    @override
    def _check(cls, text: str) -> None:
        try:
            parts = urlsplit(text)
            sound = _SOUND[parts.scheme](parts)
        except (ValueError, KeyError):
            sound = False
        if not sound or parts.fragment:
            raise ValueError(
                "is no URL of a Redis server: write redis://host:6379/0, rediss:// for TLS, "
                "redis+sentinel://host:26379,host:26379/name-of-the-master, "
                "redis+cluster://host:6379,host:6379 or unix:///path, and percent-encode special "
                "characters of a password"
            ) from None
        named = parse_qs(parts.query, keep_blank_values=True)
        if {name.removeprefix("sentinel_") for name in named} & _VERIFYING:
            raise ValueError(
                f"may hold none of {', '.join(sorted(_VERIFYING))}: certificates are always "
                "verified; name the authority to believe in ssl_ca_certs"
            )


def _is_remote(parts: SplitResult) -> bool:
    return bool(parts.hostname) and (parts.port or 0) >= 0 and _is_database(parts.path)


def _is_sentinel(parts: SplitResult) -> bool:
    name, _, database = parts.path.removeprefix("/").partition("/")
    return _are_hosts(parts.netloc) and bool(name) and _is_database(database)


def _is_cluster(parts: SplitResult) -> bool:
    return _are_hosts(parts.netloc) and parts.path in {"", "/"}


def _is_database(path: str) -> bool:
    number = path.removeprefix("/")
    return not number or number.isdecimal()


def _are_hosts(netloc: str) -> bool:
    """Whether these are addresses beside commas; raises ValueError for a port that is none."""
    places = [urlsplit(f"//{place}") for place in netloc.rpartition("@")[2].split(",")]
    return all(place.hostname and (place.port or 0) >= 0 for place in places)


_SOUND: Final[Mapping[str, Callable[[SplitResult], bool]]] = {
    "redis": _is_remote,
    "rediss": _is_remote,
    "redis+sentinel": _is_sentinel,
    "rediss+sentinel": _is_sentinel,
    "redis+cluster": _is_cluster,
    "rediss+cluster": _is_cluster,
    "unix": lambda parts: parts.path.startswith("/"),
}


def _kept_back() -> bool:
    """Whether the secrets themselves are not to be read."""
    sources = _current_sources.get(None)
    return sources is not None and not sources.secrets


def _path(path: object) -> Path:
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f"names no file: {_SHAPE}")
    return Path(path)


def _content(path: Path) -> str:
    """Return a file's text without the line end that editors and secret stores put behind it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"file {path} cannot be read ({error.strerror}): create it, or name another"
        ) from None
    try:
        text = content[: _LONGEST + 1].decode()
    except UnicodeDecodeError:
        raise ValueError(f"file {path} is not UTF-8 text") from None
    if len(text) > _LONGEST:
        raise ValueError(f"file {path} is too long for a secret (over {_LONGEST} bytes)")
    return text.removesuffix("\n").removesuffix("\r")


def _variable(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"names no variable: {_SHAPE}")
    value = _current_sources.get().environ.get(name)
    if value is None:
        raise ValueError(f"environment variable {name} is not set: set it, or name another")
    return value
