"""OAuth 2.0 grants, each as the fields that it adds to a token request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from proxy.oauth2.assertions import LONGEST_LIFETIME, assertion
from proxy.oauth2.client_authentication import Server
from proxy.security.private_keys import SigningKey

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type


@dataclass(frozen=True, slots=True)
class Form:
    """The part of a token request that belongs to the grant."""

    fields: list[tuple[str, str]] = field(default_factory=list, repr=False)
    """All form fields of the grant except `grant_type`."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The values among them that must not be quoted in an error."""


class Grant(Protocol):
    """The authorization for which a token is requested (RFC 6749 1.3, 4.5)."""

    grant_type: ClassVar[str]
    """The value of the parameter `grant_type`."""
    dated: ClassVar[bool]
    """True if it contains a time, so that a wrong clock can be why it is refused."""
    single_use: ClassVar[bool]
    """True if a server accepts it once, so that a request without an answer is not repeated."""
    scoped: ClassVar[bool]
    """True if the request names the scope; otherwise the user's consent fixed it."""

    def form(self, server: Server) -> Form:
        """Return the fields of the request.

        Raises:
            ConfigurationError: a key or token cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A token for the client itself (RFC 6749 4.4)."""

    grant_type: ClassVar[str] = "client_credentials"
    dated: ClassVar[bool] = False
    single_use: ClassVar[bool] = False
    scoped: ClassVar[bool] = True

    def form(self, server: Server) -> Form:  # noqa: ARG002 - the seam
        """Return no field: client authentication is enough."""
        return Form()


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token (RFC 6749 6)."""

    grant_type: ClassVar[str] = "refresh_token"
    dated: ClassVar[bool] = False
    single_use: ClassVar[bool] = True
    scoped: ClassVar[bool] = False
    token: str = field(repr=False)
    """The refresh token."""
    redirect_uri: str = ""
    """The redirect URI of the login, which Jira Data Center requires again."""

    def form(self, server: Server) -> Form:  # noqa: ARG002 - the seam
        """Return the refresh token."""
        fields = [("refresh_token", self.token), *_redirect(self.redirect_uri)]
        return Form(fields, secrets=(self.token,))


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """The code of a login (RFC 6749 4.1.3) with its PKCE verifier (RFC 7636 4.5)."""

    grant_type: ClassVar[str] = "authorization_code"
    dated: ClassVar[bool] = False
    single_use: ClassVar[bool] = True
    scoped: ClassVar[bool] = False
    code: str = field(repr=False)
    """The authorization code."""
    verifier: str = field(repr=False)
    """The PKCE code verifier."""
    redirect_uri: str = ""
    """The redirect URI of the login."""

    def form(self, server: Server) -> Form:  # noqa: ARG002 - the seam
        """Return code and verifier."""
        fields = [("code", self.code), *_redirect(self.redirect_uri)]
        return Form([*fields, ("code_verifier", self.verifier)], secrets=(self.code, self.verifier))


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtBearer:
    """An assertion about a subject, signed by us (RFC 7523 2.1); a new one for each request."""

    grant_type: ClassVar[str] = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    dated: ClassVar[bool] = True
    single_use: ClassVar[bool] = False
    scoped: ClassVar[bool] = True
    key: Callable[[], SigningKey] = field(repr=False)
    """Returns the key that signs."""
    issuer: str
    """The claim `iss`."""
    subject: str
    """The claim `sub`."""
    audience: str = ""
    """The claim `aud`: `issuer`, `token_endpoint` or any other text."""
    lifetime: int = LONGEST_LIFETIME
    """How long the assertion is valid (milliseconds)."""
    claims: Mapping[str, Any] = field(default_factory=dict)
    """Additional claims."""

    def form(self, server: Server) -> Form:
        """Return a fresh assertion."""
        signed = assertion(
            self.key(),
            issuer=self.issuer,
            subject=self.subject,
            audience=server.audience(self.audience),
            now=server.now,
            lifetime=self.lifetime,
            claims=self.claims,
        )
        return Form([("assertion", signed)], secrets=(signed,))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchange:
    """A token that we have, exchanged for one that the API accepts (RFC 8693 2.1)."""

    grant_type: ClassVar[str] = "urn:ietf:params:oauth:grant-type:token-exchange"
    dated: ClassVar[bool] = False
    single_use: ClassVar[bool] = False
    scoped: ClassVar[bool] = True
    subject_token: Callable[[], str] = field(repr=False)
    """Returns the token of the party for which the new token is."""
    subject_token_type: str = ACCESS_TOKEN
    """Its type, a URN of RFC 8693 3."""
    actor_token: Callable[[], str] | None = field(default=None, repr=False)
    """Returns the token of the party that acts, if another one does."""
    actor_token_type: str = ACCESS_TOKEN
    """Its type."""
    requested_token_type: str = ""
    """The type of the new token, if the server should not choose it."""

    def form(self, server: Server) -> Form:  # noqa: ARG002 - the seam
        """Return the tokens, read anew."""
        subject = self.subject_token()
        fields = [("subject_token", subject), ("subject_token_type", self.subject_token_type)]
        secrets = [subject]
        if self.actor_token is not None:
            actor = self.actor_token()
            fields += [("actor_token", actor), ("actor_token_type", self.actor_token_type)]
            secrets.append(actor)
        if self.requested_token_type:
            fields.append(("requested_token_type", self.requested_token_type))
        return Form(fields, secrets=tuple(secrets))


def _redirect(uri: str) -> list[tuple[str, str]]:
    return [("redirect_uri", uri)] if uri else []
