"""Private signing keys, read from PEM or JWK, each with its algorithm."""

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from proxy.errors import ConfigurationError

if TYPE_CHECKING:  # joserfc is slow to import, and few programs sign
    from joserfc.jwk import Key

SMALLEST_RSA_KEY: Final = 2048

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_EDWARDS: Final = ("EdDSA",)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the algorithm that it signs with."""

    key: "Key" = field(repr=False)
    """The private key."""
    algorithm: str
    """The JWS algorithm, such as ES256."""
    kid: str = ""
    """Id of the key; empty if the verifier needs none."""


def load_key(text: str, *, algorithm: str | None = None, kid: str | None = None) -> SigningKey:
    """Return the private key of a PEM or JWK text.

    The algorithm is the argument, or that of the JWK, or the default for the type of the key:
    RS256, ES256, ES384, ES512 or EdDSA.

    Raises:
        ConfigurationError: the text is not a private key, or the key is too weak, or it cannot
            sign with the algorithm.
    """
    key = _imported(text.strip())
    if not key.is_private:
        raise ConfigurationError("the signing key is a public key: give the private one")
    fit = _algorithms(key)
    chosen = algorithm or str(key.get("alg") or fit[0])
    if chosen not in fit:
        raise ConfigurationError(
            f"the signing key cannot sign with {chosen}: choose one of {', '.join(fit)},"
            " or another key"
        )
    return SigningKey(key, chosen, kid if kid is not None else str(key.get("kid") or ""))


def _imported(text: str) -> "Key":
    """Return the key; errors are not chained, because the message of a library may quote it."""
    from joserfc.errors import JoseError, SecurityWarning  # noqa: PLC0415
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            if not text.startswith("{"):
                return _from_pem(text)
            tree = orjson.loads(text)
            kinds: dict[str, type[RSAKey | ECKey | OKPKey]]
            kinds = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
            return kinds[tree["kty"]].import_key(tree)
    except (JoseError, ValueError, TypeError, KeyError):
        raise ConfigurationError(
            "the signing key cannot be read: give an RSA, EC or Ed25519 private key as PEM without"
            " password, or as JWK"
        ) from None


def _from_pem(text: str) -> "Key":
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415

    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return kind.import_key(text)
        except (JoseError, ValueError, TypeError):
            continue
    raise ValueError("no key")


def _algorithms(key: "Key") -> tuple[str, ...]:
    """Return the algorithms that a key can sign with, the default first."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey  # noqa: PLC0415

    match key:
        case RSAKey():
            private = key.private_key
            assert isinstance(private, RSAPrivateKey)
            if private.key_size < SMALLEST_RSA_KEY:
                raise ConfigurationError(
                    f"the signing key is an RSA key of {private.key_size} bits: make one of at"
                    f" least {SMALLEST_RSA_KEY} (RFC 7518 3.3)"
                )
            return _RSA
        case ECKey() if key.curve_name in _CURVES:
            return _CURVES[key.curve_name]
        case OKPKey() if key.curve_name == "Ed25519":
            return _EDWARDS
        case OctKey() | _:
            raise ConfigurationError(
                "the signing key has an unsupported type: use RSA, P-256, P-384, P-521 or Ed25519"
            )
