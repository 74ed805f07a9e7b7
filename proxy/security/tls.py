"""TLS contexts for outgoing and incoming connections, with at least TLS 1.2.

Verification cannot be switched off. Changed files are read again and used for new connections;
open connections are not affected.
"""

import functools
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from proxy.security.watched_files import WatchedFiles

_log: Final = logging.getLogger(__name__)
_UNUSABLE: Final = "The changed TLS files %s cannot be used; the previous ones stay in use: %s"
_REPLACED: Final = "The changed TLS files are in use: %s"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proxy's own certificate and its key, as PEM files."""

    certificate: Path
    """The certificate, followed by its chain."""
    key: Path
    """The private key, without a passphrase."""


class Tls:
    """The TLS context of one destination.

    The authorities in `ca_file` are trusted in addition to the system's.
    """

    def __init__(
        self,
        ca_file: Path | None = None,
        client_certificate: Certificate | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files and build the first context; `monotonic` is in seconds.

        Raises:
            OSError, ValueError: a file cannot be used.
        """
        self._ca_file = ca_file
        self._own = client_certificate
        own = (client_certificate.certificate, client_certificate.key) if client_certificate else ()
        self._files = WatchedFiles(*([ca_file] if ca_file else []), *own, monotonic=monotonic)
        self._context = self._build() if self._files.paths else _without_files()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection, built again if files have changed."""
        if self._files.paths and self._files.changed():
            names = ", ".join(map(str, self._files.paths))
            try:
                self._context = self._build()
            except (OSError, ValueError) as error:
                _log.warning(_UNUSABLE, names, error)
            else:
                _log.info(_REPLACED, names)
        return self._context

    def _build(self) -> ssl.SSLContext:
        context = _trusting_the_system()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        if self._own is not None:
            # without this function, OpenSSL would ask for a passphrase at the terminal
            context.load_cert_chain(self._own.certificate, self._own.key, password=_no_passphrase)
        return context


@functools.cache
def _without_files() -> ssl.SSLContext:
    """Return the context that all destinations without own files share.

    Reading the system's authorities takes 20 ms, so it is done once and not for each destination.
    """
    return _trusting_the_system()


def _trusting_the_system() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class ServerTls:
    """The TLS context of a listener; changed files are used for new connections.

    If `client_ca_file` is set, clients must present a certificate of its authorities.
    """

    def __init__(
        self,
        own: Certificate,
        *,
        client_ca_file: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files; raises OSError or ValueError if one cannot be used."""
        self._own = own
        self._client_ca_file = client_ca_file
        paths = [own.certificate, own.key, *([client_ca_file] if client_ca_file else [])]
        self._files = WatchedFiles(*paths, monotonic=monotonic)
        self._newest = self._build()
        self.context = self._build()
        # called in each handshake, even if the client names no server
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        if self._files.changed():
            names = ", ".join(map(str, self._files.paths))
            try:
                self._newest = self._build()
            except (OSError, ValueError) as error:
                _log.warning(_UNUSABLE, names, error)
            else:
                _log.info(_REPLACED, names)
        connection.context = self._newest

    def _build(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._own.certificate, self._own.key, password=_no_passphrase)
        if self._client_ca_file is not None:
            context.load_verify_locations(self._client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _no_passphrase() -> NoReturn:
    raise ValueError("the key is encrypted with a passphrase: store it without one")
