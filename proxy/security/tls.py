"""TLS: whom we believe, what we show of ourselves, and never less than TLS 1.2.

Verification cannot be switched off. Files are read again when they change: connections that are
open stay as they are, new ones use the new files.
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
_KEPT: Final = "Changed TLS files, one of %s, cannot be used, so the former stay: %s"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Our certificate with its chain, and its key without a passphrase: files in PEM."""

    certificate: Path
    key: Path


class Tls:
    """What connections to one destination are secured with.

    `ca_file` names authorities to believe beside the system's.
    """

    def __init__(
        self,
        ca_file: Path | None = None,
        client_certificate: Certificate | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build the first context; raises OSError or ValueError for files that cannot be used.

        `monotonic` is in seconds.
        """
        self._ca_file = ca_file
        self._own = client_certificate
        own = (client_certificate.certificate, client_certificate.key) if client_certificate else ()
        self._files = WatchedFiles(*([ca_file] if ca_file else []), *own, monotonic=monotonic)
        self._context = self._build() if self._files.paths else _without_files()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection; material that is broken leaves the former."""
        if self._files.paths and self._files.changed():
            where = ", ".join(map(str, self._files.paths))
            try:
                self._context = self._build()
            except (OSError, ValueError) as error:
                _log.warning(_KEPT, where, error)
            else:
                _log.info("The changed TLS files are in use: %s", where)
        return self._context

    def _build(self) -> ssl.SSLContext:
        context = _trusting_the_system()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        if self._own is not None:
            # without a function that refuses, OpenSSL asks for a passphrase at the terminal
            context.load_cert_chain(self._own.certificate, self._own.key, password=_no_passphrase)
        return context


@functools.cache
def _without_files() -> ssl.SSLContext:
    """Return what all destinations without files of their own share.

    To read the system's authorities takes 20 ms, which a start need not spend for each of them.
    """
    return _trusting_the_system()


def _trusting_the_system() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class ServerTls:
    """What a listener shows; files that change are used for the connections that come after.

    With `client_ca_file`, a client must show a certificate of these authorities.
    """

    def __init__(
        self,
        own: Certificate,
        *,
        client_ca_file: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files; raises OSError or ValueError for what cannot be used."""
        self._own = own
        self._client_ca_file = client_ca_file
        paths = [own.certificate, own.key, *([client_ca_file] if client_ca_file else [])]
        self._files = WatchedFiles(*paths, monotonic=monotonic)
        self._newest = self._build()
        self.context = self._build()
        # asked in each handshake, whether the client names a server or not
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        if self._files.changed():
            where = ", ".join(map(str, self._files.paths))
            try:
                self._newest = self._build()
            except (OSError, ValueError) as error:
                _log.warning(_KEPT, where, error)
            else:
                _log.info("The changed TLS files are in use: %s", where)
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
    raise ValueError("the key is encrypted with a passphrase: write it without one")
