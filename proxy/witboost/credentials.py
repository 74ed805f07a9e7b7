"""Credentials for a witboost instance: two ways to obtain a short-lived JWT.

Each is a fetch function for a `TokenSource`, which renews the token early and drops it when it is
refused. A fixed bearer token needs neither: it is
`StaticHeader("Authorization", lambda: "Bearer ...")`.
"""

import base64
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey

from proxy.domain.clock import Clock
from proxy.domain.schedule import DAY, HOUR, MINUTE
from proxy.errors import ConfigurationError, PermanentError, TemporaryError
from proxy.oauth2.tokens import DEFAULT_LIFETIME, Token
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, Response, raise_for_status

EXCHANGE_PATH: Final = "/api/auth/access-tokens/jwt"
SUBJECT: Final = "backstage-server"
"""The `sub` of the tokens that Backstage's backends sign."""
RENEWED_EVERY: Final = 10 * MINUTE
"""Milliseconds after which a token signed with the shared secret is replaced."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9_-]")
_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenExchange:
    """Exchanges a service account's access token (`wbat-...`) for a JWT at the instance."""

    http: Destination
    """Sends the exchange."""
    url: str
    """Address of the instance."""
    access_token: Callable[[], str] = field(repr=False)
    """Returns the current access token, whose file may be replaced at any time."""
    clock: Clock
    """Source of the current time."""
    duration: int | None = None
    """Requested lifetime in milliseconds; None leaves it to witboost (5 minutes)."""
    scope: str = ""
    """Requested scope; empty for none."""

    async def __call__(self) -> Token:
        """Return a new JWT.

        Raises:
            ConfigurationError: witboost refuses the access token, or its response has no JWT.
            TemporaryError: no JWT can be obtained at the moment.
        """
        secret = self.access_token()
        body: dict[str, Any] = {"access_token": secret}
        if self.duration is not None:
            body["duration_seconds"] = max(1, self.duration // 1_000)
        if self.scope:
            body["scope"] = self.scope
        url = self.url.rstrip("/") + EXCHANGE_PATH
        call = Call("POST", url, _JSON, orjson.dumps(body), secrets=(secret,))
        sent_at = self.clock.monotonic()
        try:
            response = await self.http.send(call, repeatable=True)
            raise_for_status(response, call, system="witboost")
        except TemporaryError as error:
            # at most the token request was sent, never the callback that needs the token
            raise TemporaryError(
                str(error), retry_after=error.retry_after, maybe_sent=False
            ) from error
        except (PermanentError, ConfigurationError) as error:
            raise ConfigurationError(
                f"no witboost token: {error}: check the instance's URL, and that its access token"
                " is neither expired nor revoked"
            ) from error
        jwt = _jwt(response)
        return Token(jwt, sent_at, self._lifetime(_claims(jwt)))

    def _lifetime(self, claims: dict[str, Any]) -> int:
        """Return the lifetime of the JWT in milliseconds.

        It is `exp` minus `iat` where the JWT has both, so that it does not matter if our clock
        differs from witboost's.
        """
        expires, issued = claims.get("exp"), claims.get("iat")
        if not isinstance(expires, int | float):
            return self.duration or DEFAULT_LIFETIME
        since = issued * 1_000 if isinstance(issued, int | float) else self.clock.now()
        return int(min(max(expires * 1_000 - since, 0), DAY))


def _jwt(response: Response) -> str:
    try:
        tree = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        tree = None
    value = tree.get("jwt") if isinstance(tree, dict) else None
    if not (isinstance(value, str) and _TOKEN.fullmatch(value)):
        raise ConfigurationError(
            f"{response.label} answered {response.status} without a JWT: check that the instance's"
            " URL is that of witboost, without a path"
        )
    return value


def _claims(jwt: str) -> dict[str, Any]:
    """Return the claims of a JWT without verifying its signature, which only witboost can do."""
    try:
        claims = orjson.loads(decode_base64(jwt.split(".")[1]))
    except (IndexError, orjson.JSONDecodeError):
        return {}
    return claims if isinstance(claims, dict) else {}


class SharedSecret:
    """Signs tokens with a shared secret, as Backstage's backends do (ServerTokenManager).

    A token is signed with HS256 and holds exactly `sub` and `exp`. It expires after an hour and is
    renewed every 10 minutes. The key is the decoded secret, which is often shorter than RFC 7518
    3.2 requires. `secret` is called for each token, because its file may be replaced.
    """

    def __init__(self, secret: Callable[[], str], *, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock
        self._key()

    async def __call__(self) -> Token:
        """Return a newly signed token.

        Raises:
            ConfigurationError: the current secret is empty or not base64.
        """
        claims = {"sub": SUBJECT, "exp": (self._clock.now() + HOUR) // 1_000}
        value = jws.serialize_compact({"alg": "HS256"}, orjson.dumps(claims), self._key())
        return Token(value, self._clock.monotonic(), RENEWED_EVERY)

    def _key(self) -> OctKey:
        key = decode_base64(self._secret())
        if not key:
            raise ConfigurationError(
                "the witboost shared secret is empty after base64 decoding: set it to the value of"
                " `backend.auth.keys`"
            )
        with warnings.catch_warnings():
            # witboost chooses the length of the key
            warnings.simplefilter("ignore", SecurityWarning)
            return OctKey.import_key(key)


def decode_base64(text: str) -> bytes:
    """Return the bytes as Node's Buffer decodes them: `-_` equal `+/`, others are skipped."""
    letters = _NOT_BASE64.sub("", text.partition("=")[0].translate(str.maketrans("+/", "-_")))
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
