"""OAuth2 in the settings: where tokens come from, who asks for them, and by which grant."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from proxy.domain.durations import parse_duration
from proxy.settings.secrets import Secret
from proxy.settings.types import (
    Duration,
    Issuer,
    OpenedNetworks,
    ReadableFile,
    Section,
    WebUrl,
    Word,
)

ClientAuthenticationName = Literal[
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "none",
]
GrantName = Literal["client_credentials", "refresh_token", "jwt_bearer", "token_exchange"]
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]

_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "client_secret_basic": ("client_secret",),
    "client_secret_post": ("client_secret",),
    "client_secret_jwt": ("client_secret",),
    "private_key_jwt": ("client_keys",),
    "tls_client_auth": ("client_certificate",),
    "jwt_bearer": ("assertion",),
    "token_exchange": ("exchange",),
}
_ONLY_FOR: Final[Mapping[str, frozenset[str]]] = {
    "authorization_url": frozenset({"refresh_token"}),
    "basic_encoding": frozenset({"client_secret_basic"}),
    "assertion_audience": frozenset({"client_secret_jwt", "private_key_jwt"}),
    "client_secret": frozenset({"client_secret_basic", "client_secret_post", "client_secret_jwt"}),
    "client_keys": frozenset({"private_key_jwt"}),
    "assertion": frozenset({"jwt_bearer"}),
    "exchange": frozenset({"token_exchange"}),
    "login": frozenset({"refresh_token"}),
}
_PROOFS: Final = frozenset(
    {"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type"}
)
_PARAMETERS: Final = frozenset({"scope", "resource", "audience"})


def _several(value: Any) -> Any:
    """Take one value for a list of one, and nothing for an empty one.

    Environment variables that number the items of a list which the file lacks make a mapping.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping) and (numbered := [key for key in value if str(key).isdecimal()]):
        if sorted(map(int, numbered)) != list(range(len(value))):
            raise ValueError(
                "it has numbered items and a single value, or lacks some from 0 on: write the whole"
                " list, in the file or as JSON"
            )
        return [value[key] for key in sorted(numbered, key=int)]
    return [value] if isinstance(value, str | Mapping | Secret) else value


def _short(duration: int) -> int:
    if duration > parse_duration("60s"):
        raise ValueError("longer than 60s: an assertion is used at once, and only once")
    return duration


class SigningKey(Section):
    """A private key in PEM or as a JWK; its algorithm follows from it where none is named."""

    key: Secret
    algorithm: Algorithm | None = None
    kid: Word | None = None


class Certificate(Section):
    """A client certificate with its chain, and its key, both in PEM; read again when changed."""

    certificate: ReadableFile
    key: ReadableFile


class Assertion(Section):
    """The JWT that is exchanged for a token (RFC 7523 2.1); `issuer` is the client by default."""

    subject: Word
    key: SigningKey
    issuer: Word | None = None
    audience: Word | None = None
    lifetime: Annotated[Duration, AfterValidator(_short)] = parse_duration("60s")
    claims: dict[str, Any] = Field(default={})


class Exchange(Section):
    """The token that is exchanged for ours (RFC 8693), such as a service account's in a file."""

    subject_token: Secret
    subject_token_type: Word = _JWT
    actor_token: Secret | None = None
    actor_token_type: Word = _JWT
    requested_token_type: Word | None = _ACCESS_TOKEN


class Login(Section):
    """How a person gives the first refresh token with `approval-proxy login`.

    `redirect_uri` is the one registered for the client; without it, a free loopback port
    (RFC 8252 7.3). Some servers want it again with each refresh: `repeat_redirect_uri`.
    """

    redirect_uri: WebUrl | None = None
    repeat_redirect_uri: bool = False
    extra: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _can_be_repeated(self) -> Self:
        if self.repeat_redirect_uri and self.redirect_uri is None:
            raise ValueError("repeat_redirect_uri: needs redirect_uri, which is what is repeated")
        return self


class OAuth2(Section):
    """Tokens from an authorization server: found through `issuer`, or at a `token_url`.

    `basic_encoding` says whether id and secret are form-encoded before Basic, as RFC 6749 2.3.1
    has it, or sent raw, as some servers want it. `default_lifetime` holds where the token answer
    names none. `networks` are those of the ticket system where nothing else is said. Of several
    secrets or keys the first is used, the others while servers still know only them. `scheme` is
    the word before the token in the calls to the API. With `dpop_key`, tokens are bound to that key
    (RFC 9449).
    """

    kind: Literal["oauth2"]
    issuer: Issuer | None = None
    token_url: WebUrl | None = None
    authorization_url: WebUrl | None = None
    networks: OpenedNetworks | None = None
    client_id: Word
    client_authentication: ClientAuthenticationName = "client_secret_basic"
    client_secret: Annotated[tuple[Secret, ...], BeforeValidator(_several)] = ()
    client_keys: Annotated[tuple[SigningKey, ...], BeforeValidator(_several)] = ()
    client_certificate: Certificate | None = None
    dpop_key: SigningKey | None = None
    assertion_audience: Word | None = None
    basic_encoding: Literal["rfc6749", "raw"] = "rfc6749"
    grant: GrantName = "client_credentials"
    assertion: Assertion | None = None
    exchange: Exchange | None = None
    login: Login | None = None
    scope: str | None = None
    resource: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    audience: str | None = None
    extra: dict[str, str] = Field(default={})
    default_lifetime: Duration = parse_duration("5m")
    scheme: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")] = "Bearer"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuse what is missing for, or useless with, this grant and client authentication."""
        problems = []
        if self.issuer is None and self.token_url is None:
            problems.append("token_url: give it, or the `issuer` whose metadata names it")
        if self.client_authentication == "none" and self.grant == "client_credentials":
            problems.append(
                "client_authentication: none proves nothing, and client_credentials is only for"
                " clients that prove who they are (RFC 6749 4.4)"
            )
        chosen = (self.client_authentication, self.grant)
        problems += [
            f"{key}: is needed with {choice}"
            for choice in chosen
            for key in _NEEDED.get(choice, ())
            if not getattr(self, key)
        ]
        problems += [
            f"{key}: is of no use with {' and '.join(chosen)}; it belongs to"
            f" {', '.join(sorted(users))}"
            for key, users in _ONLY_FOR.items()
            if self._is_set(key) and not users & set(chosen)
        ]
        problems += [
            f"extra: {name} is in the token request already, and must not be there twice"
            " (RFC 6749 3.2): take it out"
            for name in self.extra
            if name in _PROOFS or (name in _PARAMETERS and self._is_set(name))
        ]
        if self.dpop_key and self._is_set("scheme"):
            problems.append("scheme: is DPoP with dpop_key (RFC 9449 7.1): take it out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _is_set(self, key: str) -> bool:
        return bool(getattr(self, key) != type(self).model_fields[key].default)
