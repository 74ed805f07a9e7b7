"""The clients of oidc-provider, each from both sides: as registered, and as it proves itself."""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from proxy.domain.clock import SystemClock
from proxy.oauth2.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJwt,
    ClientSecretPost,
    NoAuthentication,
    PrivateKeyJwt,
    TlsClientAuth,
)
from proxy.oauth2.dpop import Dpop
from proxy.security.private_keys import SigningKey, load_key
from tests.e2e.oidc_provider import REDIRECT_URI
from tests.support.certificates import Authority, Pair

# A secret is printable ASCII (RFC 6749 A.2), and this server registers no other: an umlaut is
# tested against our own server. For HS256 the server wants 32 bytes at least.
SECRETS: Final = {
    "encoded": "a+b%2Fc d",
    "quotes": ":\"'\\",
    "long": "".join(islice(cycle(map(chr, range(32, 127))), 1_000)),
}
BY_SECRET: Final = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
BY_KEY: Final = ("RS256", "PS256", "ES256", "EdDSA")
BY_CERTIFICATE: Final = ("tls_client_auth", "self_signed_tls_client_auth")
BOUND: Final = (*BY_CERTIFICATE, "private_key_jwt bound")
CONFIDENTIAL: Final = (
    *(f"{method} {secret}" for method in BY_SECRET for secret in SECRETS),
    *(f"private_key_jwt {algorithm}" for algorithm in BY_KEY),
    *BOUND,
)
PUBLIC: Final = "none"
DPOP: Final = tuple(
    f"{name} DPoP"
    for name in (*(f"{method} encoded" for method in BY_SECRET), "private_key_jwt ES256")
)
DPOP_PUBLIC: Final = f"{PUBLIC} DPoP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client; `wrong` is what an impostor would prove itself with."""

    client_id: str
    metadata: Mapping[str, Any]
    right: ClientAuthentication
    wrong: ClientAuthentication
    certificate: Pair | None = None
    wrong_certificate: Pair | None = None
    dpop: SigningKey | None = None

    def proofs(self) -> Dpop | None:
        """Return what proves the key that its tokens are bound to, as a new process has it."""
        key = self.dpop
        return Dpop(lambda: key, SystemClock()) if key else None

    @property
    def code_binding(self) -> Mapping[str, str]:
        """What binds the code of a login to that key (RFC 9449 10)."""
        return {"dpop_jkt": self.dpop.key.thumbprint()} if self.dpop else {}

    @property
    def confirmation(self) -> Mapping[str, str] | None:
        """What its tokens are bound to (RFC 7800 3.1)."""
        if self.dpop:
            return {"jkt": self.dpop.key.thumbprint()}
        return {"x5t#S256": self.certificate.thumbprint} if self.certificate else None

    def registration(self) -> Mapping[str, Any]:
        """Return what the server is to know of it (RFC 7591 2)."""
        return {
            "client_id": self.client_id,
            "application_type": "native",
            "redirect_uris": [REDIRECT_URI],
            "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"]
            + (["client_credentials"] if not isinstance(self.right, NoAuthentication) else []),
            "dpop_bound_access_tokens": self.dpop is not None,
            "tls_client_certificate_bound_access_tokens": self.certificate is not None,
            **self.metadata,
        }


def make_clients(folder: Path, authority: Authority) -> Mapping[str, Client]:
    """Return all of them by name; certificates that the server trusts come from the authority."""
    stranger = Authority.found(folder, "stranger")
    pairs = [authority.client(folder, "ours"), stranger.client(folder, "theirs")]
    bearing = {
        **dict(_by_secret()),
        **dict(_by_key()),
        **_by_certificate(*pairs),
        **_bound(*pairs),
        PUBLIC: Client(
            client_id=PUBLIC,
            metadata={"token_endpoint_auth_method": "none"},
            right=NoAuthentication(PUBLIC),
            wrong=NoAuthentication("nobody"),
        ),
    }
    names = [name.removesuffix(" DPoP") for name in (*DPOP, DPOP_PUBLIC)]
    return bearing | {f"{name} DPoP": _bound_by_key(bearing[name]) for name in names}


def _bound_by_key(client: Client) -> Client:
    """Return the same client, whose tokens are bound to a key of their own (RFC 9449)."""
    name = f"{client.client_id}:DPoP"
    right: Any = client.right
    wrong: Any = client.wrong
    return replace(
        client,
        client_id=name,
        right=replace(right, client_id=name),
        wrong=replace(wrong, client_id=wrong.client_id if wrong.client_id == "nobody" else name),
        dpop=load_key(new_key("ES256", "").pem),
    )


def _by_secret() -> Iterator[tuple[str, Client]]:
    kinds: Mapping[str, Callable[[str, Callable[[], str]], ClientAuthentication]] = {
        "client_secret_basic": ClientSecretBasic,
        "client_secret_post": ClientSecretPost,
        "client_secret_jwt": ClientSecretJwt,
    }
    for method, kind in kinds.items():
        for name, text in SECRETS.items():
            secret = text * 8 if method == "client_secret_jwt" else text
            client_id = f"{method}:{name}+%41 &="  # every sign that an encoding can lose
            yield (
                f"{method} {name}",
                Client(
                    client_id=client_id,
                    metadata={"token_endpoint_auth_method": method, "client_secret": secret},
                    right=kind(client_id, lambda secret=secret: secret),  # type: ignore[misc]
                    wrong=kind(client_id, lambda secret=secret: secret + "x"),  # type: ignore[misc]
                ),
            )


def _by_key() -> Iterator[tuple[str, Client]]:
    for algorithm in BY_KEY:
        client_id = f"private_key_jwt:{algorithm}"
        ours, wrong = (new_key(algorithm, kid) for kid in ("ours", "ours"))
        yield (
            f"private_key_jwt {algorithm}",
            Client(
                client_id=client_id,
                metadata=_key_metadata(ours),
                right=ours.authentication(client_id),
                wrong=wrong.authentication(client_id),
            ),
        )


def _by_certificate(ours: Pair, theirs: Pair) -> Mapping[str, Client]:
    """One client whose certificate an authority issued, one whose certificate itself is known."""
    issued = {"tls_client_auth_subject_dn": "CN=ours"}
    known = {"jwks": {"keys": [_certificate_key(theirs)]}}
    return {
        method: Client(
            client_id=method,
            metadata={"token_endpoint_auth_method": method, **metadata},
            right=TlsClientAuth(method),
            wrong=TlsClientAuth(method),
            certificate=right,
            wrong_certificate=wrong,
        )
        for method, metadata, right, wrong in (
            ("tls_client_auth", issued, ours, theirs),
            ("self_signed_tls_client_auth", known, theirs, ours),
        )
    }


def _bound(ours: Pair, theirs: Pair) -> Mapping[str, Client]:
    """A client that proves itself with a key, and whose tokens its certificate binds all the same.

    Any certificate may bind (RFC 8705 4), so only the key of an impostor is wrong.
    """
    name = "private_key_jwt bound"
    key, wrong = (new_key("ES256", "bound") for _ in range(2))
    return {
        name: Client(
            client_id=name,
            metadata=_key_metadata(key),
            right=key.authentication(name),
            wrong=wrong.authentication(name),
            certificate=ours,
            wrong_certificate=theirs,
        )
    }


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key in PEM, and its public half as the server is to know it."""

    pem: str = field(repr=False)
    algorithm: str
    kid: str

    @property
    def public(self) -> Mapping[str, Any]:
        """The public half as JWK."""
        kind = {"R": RSAKey, "P": RSAKey, "E": OKPKey if self.algorithm == "EdDSA" else ECKey}
        key = kind[self.algorithm[0]].import_key(self.pem)
        return {**key.as_dict(private=False), "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def authentication(self, client_id: str) -> PrivateKeyJwt:
        """Return the client authentication with this key."""
        key = load_key(self.pem, algorithm=self.algorithm, kid=self.kid)
        return PrivateKeyJwt(client_id, lambda: key)


def new_key(algorithm: str, kid: str) -> KeyPair:
    """Return a fresh key that fits the algorithm."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    match algorithm:
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            key = ed25519.Ed25519PrivateKey.generate()
        case _:
            key = rsa.generate_private_key(65_537, 2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(pem.decode(), algorithm, kid)


def _key_metadata(*pairs: KeyPair) -> Mapping[str, Any]:
    return {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": pairs[0].algorithm,
        "jwks": {"keys": [pair.public for pair in pairs]},
    }


def _certificate_key(pair: Pair) -> Mapping[str, Any]:
    """Return a certificate as a JWK that holds it (RFC 7517 4.7)."""
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    der = certificate.public_bytes(Encoding.DER)
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    key = ECKey.import_key(public).as_dict(private=False)
    return {**key, "x5c": [base64.b64encode(der).decode()]}
