"""Signatures of audit heads and decision receipts, as compact JWS (RFC 7515).

Anybody who keeps the published public keys can verify them offline. A key is replaced by listing a
new one first; the public half of every key that has signed stays published, under its `kid`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet, OKPKey

from proxy.errors import ConfigurationError
from proxy.security.private_keys import SigningKey, load_key

_ALGORITHMS: Final = ("Ed25519", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256")


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with the first key of the settings."""

    kid: str
    """Id of the key that signs."""
    _key: Key = field(repr=False)
    """The private key."""
    _algorithm: str
    """The JWS algorithm."""
    published: Mapping[str, Mapping[str, Any]]
    """The public keys of all keys in the settings, as JWKs by `kid`."""

    def sign(self, content: Mapping[str, Any], *, kind: str) -> str:
        """Return the signed content; the header `typ` is `kind`, which distinguishes the uses."""
        header = {"alg": self._algorithm, "kid": self.kid, "typ": kind}
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return jws.serialize_compact(header, text, self._key, algorithms=[self._algorithm])


def new_signing_key() -> str:
    """Return a new Ed25519 private key as a JWK, in the form that the settings expect."""
    return orjson.dumps(OKPKey.generate_key("Ed25519", private=True).as_dict(private=True)).decode()


def signer(texts: Sequence[str]) -> Signer:
    """Return a signer for these private keys (PEM or JWK), of which the first one signs.

    Raises:
        ConfigurationError: a text is not a private key that can sign.
    """
    keys = [load_key(text) for text in texts]
    published = dict(map(_published, keys))
    first = keys[0]
    return Signer(_kid(first), first.key, _algorithm(first), published)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies signatures with the published keys alone."""

    keys: KeySet
    """The published public keys."""

    @classmethod
    def of(cls, published: bytes) -> "Verifier":
        """Return a verifier with the keys of a JWK set (RFC 7517 5).

        Raises:
            ConfigurationError: the bytes are not a JWK set.
        """
        try:
            keys = KeySet.import_key_set(orjson.loads(published))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                "the published keys cannot be read: give the JWK set that `approval-proxy receipts"
                " keys` prints, or keys.json of the audit folder"
            ) from error
        return cls(keys)

    def open(self, token: str, *, kind: str) -> Mapping[str, Any]:
        """Return the signed content.

        Raises:
            ValueError: no key of the set has signed it, or its `typ` is not `kind`.
        """
        try:
            signed = jws.deserialize_compact(token, self.keys, algorithms=list(_ALGORITHMS))
            content = orjson.loads(signed.payload or b"")
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"no published key has signed it ({type(error).__name__})") from error
        if signed.headers().get("typ") != kind:
            raise ValueError(f"its typ is {signed.headers().get('typ')}, not {kind}")
        if not isinstance(content, dict):
            # not TypeError: callers handle every bad signature alike
            raise ValueError("the signed content is not a JSON object")  # noqa: TRY004
        return content


def key_set(published: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return public keys as a JWK set."""
    keys = [published[kid] for kid in sorted(published)]
    return orjson.dumps({"keys": keys}, option=orjson.OPT_INDENT_2) + b"\n"


def _published(key: SigningKey) -> tuple[str, Mapping[str, Any]]:
    kid = _kid(key)
    public = {**key.key.as_dict(private=False), "kid": kid, "alg": _algorithm(key), "use": "sig"}
    public.pop("key_ops", None)  # the operations of the private key
    return kid, public


def _kid(key: SigningKey) -> str:
    """Return the key's own `kid`, or its thumbprint (RFC 7638)."""
    return key.kid or key.key.thumbprint()


def _algorithm(key: SigningKey) -> str:
    """Return the name of the algorithm; EdDSA has a more precise one (RFC 9864)."""
    return "Ed25519" if key.algorithm == "EdDSA" else key.algorithm
