"""Normalising and checking a `respondToUrl`: one spelling, inside a configured prefix.

The proxy sends a credential to that URL, so the same normalised text is compared, hashed and
called. Normalising follows RFC 3986 (5.2.4, 6.2.2), and refuses every URL that two parsers could
read differently.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, Self
from urllib.parse import quote, unquote

from proxy.errors import InvalidRequestError

LONGEST_URL: Final = 2_048

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PATH_SAFE: Final = "/%-._~!$&'()*+,;=:@"
_QUERY_SAFE: Final = _PATH_SAFE + "?"

_ANY_CASE: Final = re.IGNORECASE | re.ASCII
_PLAIN: Final = re.compile(
    r"(https?://[A-Za-z0-9\-._:\[\]]{1,300})"
    r"(/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*)"
    r"(?:\?[A-Za-z0-9\-._~!$&'()*+,;=:@/?]+)?"
)
_PARTS: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", _ANY_CASE)
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\\s\u200b-\u200f\u2028-\u202e\ufeff]")
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@%]+)(?::([0-9]{0,5}))?", _ANY_CASE)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-._~]")


def normalise(url: str) -> str:
    """Return the URL in its one normalised spelling; a normalised URL is returned unchanged.

    Raises:
        InvalidRequestError: the URL is unusable, or ambiguous.
    """
    try:
        return _normalised(url)
    except ValueError as error:
        raise InvalidRequestError(f"respondToUrl {error}") from error


@dataclass(frozen=True, slots=True)
class CallbackPrefix:
    """The URLs to which callbacks may be sent: one origin, and the paths below a prefix."""

    origin: str
    """Scheme, host and port, normalised."""
    path: str
    """Path prefix, which covers whole segments only."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the prefix of a setting such as `https://w.example.com/api/actionHandler/`.

        Raises:
            ValueError: the text is not a URL, or has a query.
        """
        try:
            scheme, _, rest = _normalised(text).partition("://")
        except ValueError as error:
            raise ValueError(f"callback prefix {text!r} {error}") from error
        if "?" in text:
            raise ValueError(f"callback prefix {text!r} must not have a query")
        host, _, path = rest.partition("/")
        return cls(origin=f"{scheme}://{host}", path=f"/{path}")

    def covers(self, url: str) -> bool:
        """Return True if the normalised URL is under this prefix, however its server decodes it."""
        if not url.startswith(self.origin):
            return False
        return under(url[len(self.origin) :].partition("?")[0], self.path)


def allowed(url: str, prefixes: Sequence[CallbackPrefix]) -> bool:
    """Return True if a normalised URL is under one of the prefixes."""
    for prefix in prefixes:  # nearly always one, and `any` is slower  # noqa: SIM110
        if prefix.covers(url):
            return True
    return False


def under(path: str, prefix: str) -> bool:
    """Return True if a path is under a prefix, however its server decodes it."""
    if not _under(path, prefix):
        return False
    if "%" not in path and "/." not in path:
        return True
    try:
        return _under(_decoded(path), unquote(prefix))
    except UnicodeDecodeError:  # overlong forms of `../`, for example
        return False


def _decoded(path: str) -> str:
    """Return the path as a server reads it that decodes, even twice, before it resolves dots."""
    decoded = unquote(path, errors="strict")
    while decoded != path:
        path, decoded = decoded, unquote(decoded, errors="strict")
    return _without_dots(path.replace("\\", "/"))


def _under(path: str, prefix: str) -> bool:
    if not path.startswith(prefix):
        return False
    # some servers cut path parameters before they resolve dot segments, so `..;x` leads upwards
    if "..;" in path:
        return False
    return prefix.endswith("/") or path[len(prefix) :][:1] in {"", "/"}


def _normalised(url: str) -> str:
    plain = _PLAIN.fullmatch(url)
    if plain is None or "/." in plain[2] or len(url) > LONGEST_URL:
        return _rewritten(url)
    # the path is already normalised, so only the origin can differ, and few origins occur
    origin = _origin(plain[1])
    return url if origin == plain[1] else origin + url[len(plain[1]) :]


def _rewritten(url: str) -> str:
    if len(url) > LONGEST_URL:
        raise ValueError(f"is longer than {LONGEST_URL} characters")
    if _FORBIDDEN.search(url):
        raise ValueError("must not contain white space, control characters or backslashes")
    if "#" in url:
        raise ValueError("must not have a fragment (#)")
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise ValueError("must be an absolute http or https URL")
    scheme, authority, path, query = parts.groups()
    path = _without_dots(_encoded(path, _PATH_SAFE)) or "/"
    query = _encoded(query, _QUERY_SAFE) if query else ""
    normal = _origin(f"{scheme}://{authority}") + path + (f"?{query}" if query else "")
    if len(normal) > LONGEST_URL:
        raise ValueError(f"is longer than {LONGEST_URL} characters after encoding")
    return normal


@lru_cache(maxsize=256)
def _origin(text: str) -> str:
    """Return the normalised scheme, host and port; the default port is left out."""
    scheme, _, authority = text.partition("://")
    scheme = scheme.lower()
    if "@" in authority:
        raise ValueError("must not contain a user name or password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError("has no usable host or port")
    host = _ipv6(parts[1]) if parts[1].startswith("[") else _host(parts[1])
    port = int(parts[2] or _DEFAULT_PORTS[scheme])
    if not 0 < port < 65_536:  # noqa: PLR2004 - the range of ports
        raise ValueError("has a port outside 1 to 65535")
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def _ipv6(text: str) -> str:
    try:
        return f"[{IPv6Address(text[1:-1])}]"
    except AddressValueError as error:
        raise ValueError("has no usable IPv6 address") from error


def _host(text: str) -> str:
    host = text.lower()
    if not host.isascii():
        try:
            ascii_host = host.encode("idna").decode("ascii")
            same = ascii_host.encode("ascii").decode("idna") == host
        except UnicodeError as error:
            raise ValueError("has a host name that IDNA does not allow") from error
        if not same:
            # full-width letters or ß, for example: parsers turn them into different hosts
            raise ValueError("has a host name with characters that parsers convert differently")
        host = ascii_host
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):  # noqa: PLR2004 - RFC 1035 2.3.4
        raise ValueError("has no usable host name")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # only some parsers read 127.1, 0x7f.1 and 2130706433 as addresses
        try:
            return str(IPv4Address(host))
        except AddressValueError as error:
            raise ValueError("has no usable IPv4 address") from error
    return host


def _encoded(text: str, safe: str) -> str:
    """Return the text with only the necessary characters percent-encoded, in capitals."""
    if _BAD_PERCENT.search(text):
        raise ValueError("has a % that is not followed by two hexadecimal digits")

    def one_spelling(match: re.Match[str]) -> str:
        character = chr(int(match[0][1:], 16))
        return character if _UNRESERVED.fullmatch(character) else match[0].upper()

    try:
        return quote(_PERCENT.sub(one_spelling, text), safe=safe)
    except UnicodeEncodeError as error:
        raise ValueError("has characters that cannot be encoded") from error


def _without_dots(path: str) -> str:
    """Return the path with its dot segments resolved (RFC 3986 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
