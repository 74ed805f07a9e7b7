"""What we sign: heads of the audit and decision receipts, as compact JWS (RFC 7515).

Whoever keeps the published public keys can verify all of it offline. A key is replaced by putting a
new one first: the public half of every key that ever signed stays published, under its `kid`.
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
    """Signs with its first key; `published` are the public keys of all, as JWKs by `kid`."""

    kid: str
    _key: Key = field(repr=False)
    _algorithm: str
    published: Mapping[str, Mapping[str, Any]]

    def sign(self, content: Mapping[str, Any], *, kind: str) -> str:
        """Return the signed content; `kind` is the header `typ`, by which uses are told apart."""
        header = {"alg": self._algorithm, "kid": self.kid, "typ": kind}
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return jws.serialize_compact(header, text, self._key, algorithms=[self._algorithm])


def new_signing_key() -> str:
    """Return a new Ed25519 private key as JWK, as the settings take it."""
    return orjson.dumps(OKPKey.generate_key("Ed25519", private=True).as_dict(private=True)).decode()


def signer(texts: Sequence[str]) -> Signer:
    """Return what signs with the first of these private keys (PEM or JWK).

    Raises:
        ConfigurationError: one of them is no private key that can sign.
    """
    keys = [load_key(text) for text in texts]
    published = dict(map(_published, keys))
    first = keys[0]
    return Signer(_kid(first), first.key, _algorithm(first), published)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies with published keys alone."""

    keys: KeySet

    @classmethod
    def of(cls, published: bytes) -> "Verifier":
        """Return what verifies with the keys of a JWK set (RFC 7517 5).

        Raises:
            ConfigurationError: it is none.
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
        """Return what was signed.

        Raises:
            ValueError: it is not signed by one of the keys, or is of another kind; the message
                says which.
        """
        try:
            found = jws.deserialize_compact(token, self.keys, algorithms=list(_ALGORITHMS))
            content = orjson.loads(found.payload or b"")
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"no published key has signed it ({type(error).__name__})") from error
        if found.headers().get("typ") != kind:
            raise ValueError(f"it is no {kind}, but {found.headers().get('typ')}")
        if not isinstance(content, dict):
            raise ValueError("what was signed is no JSON object")  # noqa: TRY004 - as the others
        return content


def key_set(published: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return public keys as a JWK set."""
    keys = [published[kid] for kid in sorted(published)]
    return orjson.dumps({"keys": keys}, option=orjson.OPT_INDENT_2) + b"\n"


def _published(key: SigningKey) -> tuple[str, Mapping[str, Any]]:
    kid = _kid(key)
    public = {**key.key.as_dict(private=False), "kid": kid, "alg": _algorithm(key), "use": "sig"}
    public.pop("key_ops", None)  # those of the private key
    return kid, public


def _kid(key: SigningKey) -> str:
    """Return the key's own name, else its thumbprint (RFC 7638)."""
    return key.kid or key.key.thumbprint()


def _algorithm(key: SigningKey) -> str:
    """Return the algorithm; EdDSA under its precise name (RFC 9864)."""
    return "Ed25519" if key.algorithm == "EdDSA" else key.algorithm
