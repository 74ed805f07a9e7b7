"""Certificates for tests: an authority, and what it issues to servers and clients here.

Every authority is new, so none of two trusts the other's certificates.
"""

import base64
import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE: Final = ("127.0.0.1", "localhost")
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path

    @property
    def thumbprint(self) -> str:
        """The certificate's `x5t#S256` (RFC 8705 3.1)."""
        issued = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        digest = hashlib.sha256(issued.public_bytes(Encoding.DER)).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def server(self, client_ca: Path | None = None) -> ssl.SSLContext:
        """Return what a server listens with; with `client_ca` it demands a client's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates; `ca_file` is what must be trusted to believe them."""

    ca_file: Path
    _certificate: x509.Certificate = field(repr=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def found(cls, folder: Path, name: str = "test-authority") -> Self:
        """Make an authority, and its certificate as a file in the folder."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        file = folder / f"{name}.pem"
        file.write_bytes(signed.public_bytes(Encoding.PEM))
        return cls(file, signed, key)

    def server(self, folder: Path, name: str = "server", *, hosts: Sequence[str] = HERE) -> Pair:
        """Issue a certificate for a server that is reached under these names and addresses."""
        return self._issue(folder, name, ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def client(self, folder: Path, name: str = "client") -> Pair:
        """Issue a certificate for a client; its common name is `name`."""
        return self._issue(folder, name, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def _issue(
        self, folder: Path, name: str, use: x509.ObjectIdentifier, hosts: Sequence[str]
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificate.subject
        builder = _builder(name, issuer, key.public_key()).add_extension(
            x509.ExtendedKeyUsage([use]), critical=False
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        pair.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
        return pair


def _builder(
    name: str, issuer: str | x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=_named(issuer) if isinstance(issuer, str) else issuer,
        subject_name=_named(name),
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _DAY,
        not_valid_after=now + _DAY,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
