"""What proves us to a witboost instance: its two ways to a short-lived JWT, both as a fetch.

Wrapped in a `TokenSource` each is renewed early and dropped when refused. A fixed bearer token is
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
RENEWED_EVERY: Final = 10 * MINUTE

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9_-]")
_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenExchange:
    """A service account's access token (`wbat-...`), exchanged at the instance for a JWT.

    `duration` is the wanted life in milliseconds; None leaves it to witboost (5 minutes). `url` is
    the address of the instance.
    """

    http: Destination
    url: str
    access_token: Callable[[], str] = field(repr=False)
    clock: Clock
    duration: int | None = None
    scope: str = ""

    async def __call__(self) -> Token:
        """Return a fresh JWT.

        Raises:
            ConfigurationError: witboost refuses the access token, or answers without a JWT.
            TemporaryError: no JWT now.
        """
        secret = self.access_token()
        wanted: dict[str, Any] = {"access_token": secret}
        if self.duration is not None:
            wanted["duration_seconds"] = max(1, self.duration // 1_000)
        if self.scope:
            wanted["scope"] = self.scope
        url = self.url.rstrip("/") + EXCHANGE_PATH
        call = Call("POST", url, _JSON, orjson.dumps(wanted), secrets=(secret,))
        sent_at = self.clock.monotonic()
        try:
            answer = await self.http.send(call, repeatable=True)
            raise_for_status(answer, call, system="witboost")
        except TemporaryError as error:
            # what may have been sent is the question for a token, never the callback itself
            raise TemporaryError(
                str(error), retry_after=error.retry_after, maybe_sent=False
            ) from error
        except (PermanentError, ConfigurationError) as error:
            raise ConfigurationError(
                f"no witboost token: {error}: check the instance's URL, and that its access token"
                " is neither expired nor revoked"
            ) from error
        jwt = _jwt(answer)
        return Token(jwt, sent_at, self._lifetime(_claims(jwt)))

    def _lifetime(self, claims: dict[str, Any]) -> int:
        """Return how long the JWT lives: from its own two times where it has them, so that a clock
        that differs from witboost's does not matter.
        """
        expires, issued = claims.get("exp"), claims.get("iat")
        if not isinstance(expires, int | float):
            return self.duration or DEFAULT_LIFETIME
        since = issued * 1_000 if isinstance(issued, int | float) else self.clock.now()
        return int(min(max(expires * 1_000 - since, 0), DAY))


def _jwt(answer: Response) -> str:
    try:
        tree = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        tree = None
    value = tree.get("jwt") if isinstance(tree, dict) else None
    if not (isinstance(value, str) and _TOKEN.fullmatch(value)):
        raise ConfigurationError(
            f"{answer.label} answered {answer.status} without a JWT: check that the instance's URL"
            " is that of witboost, without a path"
        )
    return value


def _claims(jwt: str) -> dict[str, Any]:
    """Return what a JWT says of itself; its signature is witboost's to verify and not ours."""
    try:
        claims = orjson.loads(decode_base64(jwt.split(".")[1]))
    except (IndexError, orjson.JSONDecodeError):
        return {}
    return claims if isinstance(claims, dict) else {}


class SharedSecret:
    """A token that we sign ourselves, as Backstage's backends do (ServerTokenManager).

    HS256 over exactly `sub` and `exp`, an hour ahead and renewed every 10 minutes; the key is the
    decoded secret, often shorter than RFC 7518 3.2 wants. `secret` is asked for each token, as its
    file may be replaced.
    """

    def __init__(self, secret: Callable[[], str], *, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock
        self._key()

    async def __call__(self) -> Token:
        """Return a freshly signed token.

        Raises:
            ConfigurationError: the secret of now is no key.
        """
        claims = {"sub": SUBJECT, "exp": (self._clock.now() + HOUR) // 1_000}
        value = jws.serialize_compact({"alg": "HS256"}, orjson.dumps(claims), self._key())
        return Token(value, self._clock.monotonic(), RENEWED_EVERY)

    def _key(self) -> OctKey:
        key = decode_base64(self._secret())
        if not key:
            raise ConfigurationError(
                "the witboost shared secret is empty once it is base64-decoded: set the value of"
                " `backend.auth.keys`"
            )
        with warnings.catch_warnings():
            # the length of the key is witboost's choice
            warnings.simplefilter("ignore", SecurityWarning)
            return OctKey.import_key(key)


def decode_base64(text: str) -> bytes:
    """Return the bytes as Node's Buffer decodes them: `-_` equal `+/`, all else is skipped."""
    letters = _NOT_BASE64.sub("", text.partition("=")[0].translate(str.maketrans("+/", "-_")))
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
