"""Proof of possession (DPoP, RFC 9449), which makes a stolen token useless without its key.

Each call carries a JWT of its own, signed with the key that the token is bound to, for exactly this
method, URL and token.
"""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from proxy.domain.clock import Clock
from proxy.domain.schedule import SECOND
from proxy.oauth2.assertions import signed
from proxy.outbound.responses import http_date
from proxy.security.private_keys import SigningKey

TELLING_SKEW: Final = 5 * SECOND
"""A clock that differs by more than this explains a refused proof; `Date` has whole seconds."""

_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # RFC 9449 8.1: NQCHAR
_ERROR: Final = re.compile(r"\bDPoP\b.*?\berror=\"([a-z_]+)\"", re.IGNORECASE)
_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e")  # RFC 7638 3.2


class Dpop:
    """One key, and for each origin the nonce and the clock offset that its proofs must have.

    `key` is called for each proof, because its file may be replaced.
    """

    def __init__(self, key: Callable[[], SigningKey], clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self._nonces: dict[str, str] = {}
        self._offsets: dict[str, int] = {}

    @property
    def thumbprint(self) -> str:
        """The thumbprint of the key (RFC 7638), which its tokens name."""
        return self._key().key.thumbprint()

    def header(self, method: str, url: str, token: str = "") -> dict[str, str]:
        """Return the header with a fresh proof for one call; `token` is what the call presents.

        Raises:
            ConfigurationError: the key cannot be used.
        """
        key, origin = self._key(), _origin(url)
        path = urlsplit(url).path or "/"  # RFC 3986 6.2.3, as it is sent
        public = key.key.as_dict(private=False)
        claims = {
            "jti": secrets.token_urlsafe(24),
            "htm": method,
            "htu": origin + path,
            "iat": (self._clock.now() + self._offsets.get(origin, 0)) // 1_000,
        }
        if token:
            digest = hashlib.sha256(token.encode()).digest()
            claims["ath"] = urlsafe_b64encode(digest).rstrip(b"=").decode()
        if nonce := self._nonces.get(origin):
            claims["nonce"] = nonce
        jwk = {name: public[name] for name in _PUBLIC if name in public}
        return {"DPoP": signed(key, {"typ": "dpop+jwt", "jwk": jwk}, claims)}

    def challenged(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Read an API's response; True if a new proof may be accepted (RFC 9449 7.1, 9)."""
        if status != 401:  # noqa: PLR2004 - the status of a challenge (RFC 9110 11.6.1)
            return self.on_response(url, headers)
        # one header may hold several challenges, and several headers one each
        values = [value for name, value in headers.items() if name.lower() == "www-authenticate"]
        match = _ERROR.search(", ".join(values))
        return self.on_response(url, headers, match[1].lower() if match else "")

    def on_response(self, url: str, headers: Mapping[str, str], error: str = "") -> bool:
        """Read the nonce of a response; True if a new proof can avoid this error."""
        origin, nonce = _origin(url), headers.get("DPoP-Nonce", "")
        previous = self._nonces.get(origin)
        if _NONCE.fullmatch(nonce):
            self._nonces[origin] = nonce
        if error == "use_dpop_nonce":
            return self._nonces.get(origin) != previous
        return error == "invalid_dpop_proof" and self._was_misdated(origin, headers)

    def _was_misdated(self, origin: str, headers: Mapping[str, str]) -> bool:
        """Adopt the other side's time if its `Date` explains why it refused a proof."""
        date = http_date(headers.get("Date", ""))
        if date is None:
            return False
        offset = date - self._clock.now()
        explained = abs(offset - self._offsets.get(origin, 0)) > TELLING_SKEW
        if explained:
            self._offsets[origin] = offset
        return explained


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
