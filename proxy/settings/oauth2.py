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
    """A private key that signs."""

    key: Secret
    """The key in PEM or as a JWK."""
    algorithm: Algorithm | None = None
    """The algorithm; null: that of the key."""
    kid: Word | None = None
    """The key id of the header; null: that of the JWK."""


class Certificate(Section):
    """A client certificate; its files are read again when they change."""

    certificate: ReadableFile
    """The certificate with its chain, in PEM."""
    key: ReadableFile
    """Its private key without a passphrase, in PEM."""


class Assertion(Section):
    """The JWT that is exchanged for a token (RFC 7523 2.1)."""

    subject: Word
    """The `sub` claim: for whom the token is."""
    key: SigningKey
    """The key that signs it."""
    issuer: Word | None = None
    """The `iss` claim; null: `client_id`."""
    audience: Word | None = None
    """The `aud` claim: `issuer`, `token_endpoint` or a text; null: the issuer."""
    lifetime: Annotated[Duration, AfterValidator(_short)] = parse_duration("60s")
    """The lifetime, 60s at most."""
    claims: dict[str, Any] = Field(default={})
    """More claims."""


class Exchange(Section):
    """The token that is exchanged for an access token (RFC 8693)."""

    subject_token: Secret
    """The token that is exchanged, such as a service account's in a file."""
    subject_token_type: Word = _JWT
    """Its type, as a URN."""
    actor_token: Secret | None = None
    """The token of the acting party; null: none."""
    actor_token_type: Word = _JWT
    """The type of `actor_token`, as a URN."""
    requested_token_type: Word | None = _ACCESS_TOKEN
    """The type of the token that is requested; null: the server chooses."""


class Login(Section):
    """The login of `approval-proxy login`, by which a person gives the first refresh token."""

    redirect_uri: WebUrl | None = None
    """The one registered for the client; null: a free loopback port (RFC 8252 7.3)."""
    repeat_redirect_uri: bool = False
    """`true`: repeat it with each refresh, as some servers require."""
    extra: dict[str, str] = Field(default={})
    """More parameters of the authorization request."""

    @model_validator(mode="after")
    def _can_be_repeated(self) -> Self:
        if self.repeat_redirect_uri and self.redirect_uri is None:
            raise ValueError("repeat_redirect_uri: needs redirect_uri, which is what is repeated")
        return self


class OAuth2(Section):
    """Access tokens from an authorization server."""

    kind: Literal["oauth2"]
    """Selects OAuth2."""
    issuer: Issuer | None = None
    """The issuer, whose metadata names the endpoints; null: see `token_url`."""
    token_url: WebUrl | None = None
    """The token endpoint; null: that of the issuer's metadata."""
    authorization_url: WebUrl | None = None
    """The authorization endpoint; null: that of the issuer's metadata."""
    networks: OpenedNetworks | None = None
    """Networks that are not public, in which the server may be; null: as for the system."""
    client_id: Word
    """The client id."""
    client_authentication: ClientAuthenticationName = "client_secret_basic"
    """How the client proves its identity at the token endpoint."""
    client_secret: Annotated[tuple[Secret, ...], BeforeValidator(_several)] = ()
    """The client secret; of several the others are used while a server knows only them."""
    client_keys: Annotated[tuple[SigningKey, ...], BeforeValidator(_several)] = ()
    """The keys of `private_key_jwt`; of several the first is used, as with `client_secret`."""
    client_certificate: Certificate | None = None
    """The client certificate, also for calls to the ticket system; null: none."""
    dpop_key: SigningKey | None = None
    """The key to which tokens are bound (RFC 9449); null: bearer tokens."""
    assertion_audience: Word | None = None
    """The audience of the client's assertion: `issuer`, `token_endpoint` or a text."""
    basic_encoding: Literal["rfc6749", "raw"] = "rfc6749"
    """`rfc6749`: id and secret are form-encoded in Basic (RFC 6749 2.3.1); `raw`: not."""
    grant: GrantName = "client_credentials"
    """The grant."""
    assertion: Assertion | None = None
    """The assertion of the grant `jwt_bearer`."""
    exchange: Exchange | None = None
    """The tokens of the grant `token_exchange`."""
    login: Login | None = None
    """The login of the grant `refresh_token`."""
    scope: str | None = None
    """The scope; null: the server's default."""
    resource: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """The resources (RFC 8707)."""
    audience: str | None = None
    """The audience of the token; null: none is requested."""
    extra: dict[str, str] = Field(default={})
    """More parameters of the token request."""
    default_lifetime: Duration = parse_duration("5m")
    """The lifetime of a token whose response names none."""
    scheme: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")] = "Bearer"
    """The word before the token in calls to the API."""

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
