"""A server that wants proofs of possession (RFC 9449) and takes nothing on trust.

It reads proofs with joserfc and the standard library alone, so that it shares no code with what
made them.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.support.manual_clock import ManualClock

KINDS: dict[str, type[ECKey | OKPKey | RSAKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}


class _Roomy(JWSRegistry):
    """Headers that hold an RSA key are longer than joserfc takes by itself."""

    max_header_length = 4_096


REGISTRY = _Roomy(algorithms=["ES256", "RS256", "EdDSA"])


@dataclass
class Possession:
    """Checks proofs at its own time, without tolerance; `nonce` is the one wanted, if any."""

    clock: ManualClock = field(default_factory=ManualClock)
    nonce: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    thumbprints: dict[str, str] = field(default_factory=dict)
    _spent: set[str] = field(default_factory=set)

    def error(self, request: web.Request, token: str = "") -> str:
        """Return the code of RFC 9449 for what is wrong with a request's proof, or nothing."""
        proofs = request.headers.getall("DPoP", [])
        if len(proofs) != 1:
            return "invalid_dpop_proof"
        head = proofs[0].partition(".")[0]
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        jwk = header["jwk"]
        assert header["typ"] == "dpop+jwt"
        assert not {"d", "p", "q", "k"} & set(jwk), "a private key in a proof"
        key = KINDS[jwk["kty"]].import_key(jwk)
        try:
            claims = jwt.decode(proofs[0], key, registry=REGISTRY).claims
        except JoseError:
            return "invalid_dpop_proof"
        self.seen.append(claims)
        if claims.get("nonce", "") != self.nonce:
            return "use_dpop_nonce"
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode()
        good = (
            claims["htm"] == request.method
            and claims["htu"] == str(request.url.with_query(None))
            and claims["jti"] not in self._spent
            and 0 <= self.clock.now() // 1_000 - claims["iat"] <= 5
            and claims.get("ath") == (ath.rstrip("=") if token else None)
            and self.thumbprints.setdefault(token, key.thumbprint()) == key.thumbprint()
        )
        self._spent.add(claims["jti"])
        return "" if good else "invalid_dpop_proof"

    @property
    def headers(self) -> dict[str, str]:
        """What comes with each answer."""
        date = {"Date": formatdate(self.clock.now() / 1_000, usegmt=True)}
        return date | ({"DPoP-Nonce": self.nonce} if self.nonce else {})
