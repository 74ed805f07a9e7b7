"""Secrets: in the settings themselves, in a file or in a variable; never shown."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from proxy.security.watched_files import WatchedFiles
from proxy.settings.sources import current_sources

_log: Final = logging.getLogger(__name__)

MASK: Final = "********"
_LONGEST: Final = 65_536
_VERIFYING: Final = frozenset({"ssl_cert_reqs", "ssl_check_hostname"})
_SHAPE: Final = "write the secret as quoted text, {file: /run/secrets/name} or {env: NAME}"


class Secret(SecretStr):
    """A value that only `reveal` returns; `source` says where it is kept.

    If it is not `readable`, it was not read, and a mask is in its place.
    """

    def __init__(
        self,
        value: str,
        source: str = "",
        file: WatchedFiles | None = None,
        *,
        readable: bool = True,
    ) -> None:
        super().__init__(value)
        self.source = source
        self.readable = readable
        self._file = file

    def reveal(self) -> str:
        """Return the secret itself: for the call that sends it, never for a message.

        A changed file is read again; if the new value cannot be used, the former one stays.
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
        """The part of it that may be shown."""
        return self._with_source(MASK)

    def _with_source(self, text: str) -> str:
        return f"{text} (from {self.source})" if self.source else text

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
    def _read(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if _without_secrets():
            return cls(MASK, readable=False)
        file = None
        if isinstance(value, str):
            text, source = value, ""
        elif isinstance(value, Mapping) and set(value) == {"file"}:
            path = _path(value["file"])
            file = WatchedFiles(path)
            text, source = _content(path), f"file {path}"
        elif isinstance(value, Mapping) and set(value) == {"env"}:
            text, source = _variable(value["env"]), f"environment {value['env']}"
        else:
            raise ValueError(f"not a secret: {_SHAPE}")
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
    """The URL of a Redis server, which may hold a password; its other parts may be shown."""

    @property
    @override
    def masked(self) -> str:
        parts = urlsplit(self.reveal())
        host = parts.netloc.rpartition("@")[2]
        user = f"{MASK}@" if "@" in parts.netloc else ""
        query = f"?{MASK}" if parts.query else ""
        return self._with_source(f"{parts.scheme}://{user}{host}{parts.path}{query}")

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
                "not the URL of a Redis server (expected redis://host:6379/0, rediss:// for TLS, "
                "redis+sentinel://host:26379,host:26379/name-of-the-master, "
                "redis+cluster://host:6379,host:6379 or unix:///path); percent-encode special "
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
    """Return True for addresses separated by commas; raises ValueError for an invalid port."""
    hosts = [urlsplit(f"//{host}") for host in netloc.rpartition("@")[2].split(",")]
    return all(host.hostname and (host.port or 0) >= 0 for host in hosts)


_SOUND: Final[Mapping[str, Callable[[SplitResult], bool]]] = {
    "redis": _is_remote,
    "rediss": _is_remote,
    "redis+sentinel": _is_sentinel,
    "rediss+sentinel": _is_sentinel,
    "redis+cluster": _is_cluster,
    "rediss+cluster": _is_cluster,
    "unix": lambda parts: parts.path.startswith("/"),
}


def _without_secrets() -> bool:
    """Return True if the settings are read without their secrets."""
    sources = current_sources.get(None)
    return sources is not None and not sources.secrets


def _path(path: object) -> Path:
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f"not the name of a file: {_SHAPE}")
    return Path(path)


def _content(path: Path) -> str:
    """Return a file's text without the line end that editors and secret stores append."""
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
        raise ValueError(f"not the name of a variable: {_SHAPE}")
    value = current_sources.get().environ.get(name)
    if value is None:
        raise ValueError(f"environment variable {name} is not set: set it, or name another")
    return value
